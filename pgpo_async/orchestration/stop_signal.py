"""Ctrl-C and SIGTERM: once politely, twice at once."""

import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Turns the first signal into a request and the second into KeyboardInterrupt.

    Outside `polite` (while starting or evaluating there is no step to finish) the first one interrupts
    too. Use as a context manager on the main thread: the former handlers come back at its end.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._requested = False
        self._polite = False
        self._former: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        self._former = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        return self

    def install(self) -> None:
        """Take the signals (again: connecting to Ray replaces the handlers by its own)."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def requested(self) -> bool:
        """Whether the run should end after its current step."""
        return self._requested

    def polite(self, wanted: bool) -> None:
        """Say whether there is a step to finish."""
        self._polite = wanted

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._requested or not self._polite:
            self._requested = True
            raise KeyboardInterrupt
        self._requested = True
        name = signal.Signals(number).name
        self._announce(f"{name}: stopping after this step; once more stops at once")
