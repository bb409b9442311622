"""The lines as a user sees them: coloured on a terminal, plain elsewhere, JSON where asked for."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.doctor.lines import Line

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
_NAME_WIDTH = 17


class Printer:
    """Shows lines as they come, and what is being looked at meanwhile; counts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("", spinner="dots") if console.is_terminal else None
        self._began_s = time.monotonic()
        self.lines: list[Line] = []

    def doing(self, text: str) -> None:
        """Say what takes a while."""
        if self._status is not None:
            self._status.update(f"looking at {text}")
            self._status.start()

    def show(self, lines: Iterable[Line]) -> None:
        """Print each line as it comes."""
        try:
            for line in lines:
                self.lines.append(line)
                self._console.print(self._text(line), soft_wrap=True)
        finally:
            if self._status is not None:
                self._status.stop()

    def _text(self, line: Line) -> Text:
        text = Text().append(f"{line.level:<8}", style=_STYLES[line.level])
        text.append(f"{line.name:<{_NAME_WIDTH}} {line.found}")
        if line.advice:
            # On a terminal what to do stands below what is wrong; elsewhere a line is whole.
            gap = f"\n{'':<{8 + _NAME_WIDTH}} " if self._console.is_terminal else " "
            text.append(f"{gap}-> {line.advice}", style="bold" if self._console.is_terminal else "")
        return text

    def count(self, level: str) -> int:
        """Lines of a level so far."""
        return sum(line.level == level for line in self.lines)

    def close(self) -> None:
        """Print the sums."""
        errors, warnings, good = (self.count(level) for level in ("error", "warning", "ok"))
        sums = f"{errors} errors, {warnings} warnings, {good} ok, in {self._seconds:.0f} s"
        self._console.print(Text(sums), soft_wrap=True)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began_s

    def write(self, path: Path, about: dict[str, Any]) -> None:
        """Write what `--json` asks for. Raises ConfigError if the file cannot be written."""
        values = {
            **about,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "seconds": round(self._seconds, 1),
            "lines": [asdict(line) for line in self.lines],
        }
        try:
            path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        except OSError as cause:
            raise ConfigError(f"--json: cannot write {path}: {cause.strerror or cause}") from cause
