"""How far a long reading of rows is: a line rewritten in a terminal, a new one now and then elsewhere."""

import sys
import time
from typing import TextIO

_TERMINAL_PERIOD_S = 0.2
_FILE_PERIOD_S = 10.0


class ProgressLine:
    """Counts rows towards `num_rows` (None where nobody knows) and tells on standard error, not too often."""

    def __init__(self, what: str, num_rows: int | None, stream: TextIO | None = None) -> None:
        self._what = what
        self._num_rows = num_rows
        self._stream = stream or sys.stderr
        self._in_terminal = self._stream.isatty()
        self._began_s = self._told_s = time.monotonic()
        self._num_done = 0

    def advance(self, num_rows: int = 1) -> None:
        """Count rows as done."""
        self._num_done += num_rows
        now_s = time.monotonic()
        if now_s - self._told_s >= (_TERMINAL_PERIOD_S if self._in_terminal else _FILE_PERIOD_S):
            self._told_s = now_s
            self._write(now_s)

    def end(self) -> None:
        """Leave the terminal's line empty."""
        if self._in_terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _write(self, now_s: float) -> None:
        known = f" of {self._num_rows:,}" if self._num_rows is not None else ""
        rate = self._num_done / max(now_s - self._began_s, 1e-9)
        line = f"{self._what}: {self._num_done:,}{known} rows, {rate:,.0f} a second"
        self._stream.write(f"\r{line}\x1b[K" if self._in_terminal else f"{line}\n")
        self._stream.flush()
