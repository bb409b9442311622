"""One check in a process of its own: whatever it imports, asks or starts, the doctor goes on.

Owns the child from outside: its pipes, its deadline, and the end of everything it started. What runs inside
is `in_child`'s. Lines come as they are found, so those before a crash or a hang are not lost. Called by
`checks`.
"""

import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress

from pgpo_async.orchestration.doctor.lines import Line, error, shortened

Look = Callable[[], Iterable[Line]]
"""A check with what it needs. Picklable: a partial of a module's function, with plain data."""

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pgpo_async.orchestration.doctor.in_child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
_PIECE_BYTES = 1 << 16
_MOST_PIECES = 16
_OUTPUT_BYTES = 1 << 18
_LAST_CHARACTERS = 300
_RAISED = re.compile(r"(?:^|\s)((?:\w+\.)*[A-Z]\w*(?:Error|Exception): \S.*)", re.MULTILINE)
"""As Python writes the end of a traceback, also behind what a process puts before each of its lines."""


def look_alone(name: str, look: Look, *, timeout_s: float, by_hand: str) -> Iterator[Line]:
    """Yield what a check finds, and an error line if it fails, crashes, or takes longer than `timeout_s`.

    `by_hand` is what shows the same to a user, and goes into that line.
    """
    child = _Child(look)
    try:
        failed = yield from child.lines(timeout_s)
    finally:
        child.end()
    if failed:
        yield error(name, failed, by_hand)


class _Child:
    """The process. Everything it starts is of its session, and ends with it."""

    def __init__(self, look: Look) -> None:
        self._received = b""
        self._output = b""
        self._results, results_end = os.pipe()
        self._words, words_end = os.pipe()
        os.set_blocking(self._words, False)
        work = os.memfd_create("doctor")
        try:
            os.write(work, pickle.dumps(look))
            os.lseek(work, 0, os.SEEK_SET)
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(results_end), str(os.getpid())],
                stdin=work,
                stdout=words_end,
                stderr=words_end,
                pass_fds=(results_end,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._results)
            os.close(self._words)
            raise
        finally:
            for end in (work, results_end, words_end):
                os.close(end)

    def lines(self, timeout_s: float) -> Generator[Line, None, str]:
        """Yield lines as they come; return how it failed, empty if it did not."""
        deadline = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._results, select.POLLIN)
        poll.register(self._words, select.POLLIN)
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return f"took longer than {timeout_s:.0f} s and was stopped{self.last_words()}"
            for pipe, _ in poll.poll(left_s * 1000):
                if pipe == self._words:
                    if not self._note_output():
                        poll.unregister(pipe)
                    continue
                piece = os.read(pipe, _PIECE_BYTES)
                if not piece:
                    return f"its process {self._how_it_ended()}{self.last_words()}"
                *whole, self._received = (self._received + piece).split(b"\n")
                for text in whole:
                    found = json.loads(text)
                    if "failed" in found:
                        return f"{found['failed']}{self.root_cause()}" if found["failed"] else ""
                    yield Line(**found)

    def end(self) -> None:
        """Kill what is still there. The child is waited for last: until then its number is no other's."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._results)
        os.close(self._words)

    def root_cause(self) -> str:
        """What it, or a process that it started, wrote of an error; empty if nothing."""
        # The first is the cause: those after it say that something has failed.
        raised = _RAISED.search(self._text())
        return f"; first in its output: {shortened(raised[1])}" if raised else ""

    def last_words(self) -> str:
        """The same, or else what it wrote last; empty if nothing."""
        text = " ".join(self._text().split())[-_LAST_CHARACTERS:]
        return self.root_cause() or (f"; its last output: {text}" if text else "")

    def _text(self) -> str:
        self._note_output()
        return self._output.decode("utf-8", errors="replace")

    def _note_output(self) -> bool:
        """Read of its output what is there, not for ever; whether more may come."""
        for _ in range(_MOST_PIECES):
            try:
                piece = os.read(self._words, _PIECE_BYTES)
            except BlockingIOError:
                return True
            if not piece:
                return False
            self._output = (self._output + piece)[-_OUTPUT_BYTES:]
        return True

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
