"""What the user sees while a run goes on: a live table on a terminal, one plain line a step otherwise."""

from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pgpo_async.metrics.step_record import StepRecord

SHOWN_STEPS = 12


class Progress:
    """Shows phases, steps and waits. Use as a context manager, so that the terminal is given back."""

    def __init__(self, num_steps: int, console: Console | None = None) -> None:
        self._num_steps = num_steps
        self._console = console or Console()
        self._recent: deque[StepRecord] = deque(maxlen=SHOWN_STEPS)
        self._state = ""
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._show("")
            self._live.stop()

    def phase(self, text: str) -> None:
        """Say what begins now; stays on the screen."""
        self._console.print(Text(text))
        self._show(text)

    def waiting(self, text: str) -> None:
        """Say what is waited for; replaced by the next step."""
        if self._live:
            self._show(text)
        else:
            self._console.print(Text(f"  waiting for {text}"), soft_wrap=True)

    def step(self, record: StepRecord) -> None:
        """Show one optimizer step."""
        if self._live:
            self._recent.append(record)
            self._show("training")
            return
        cells = record.cells(self._num_steps)
        line = "  ".join(f"{name} {value}" for name, value in cells.items())
        self._console.print(Text(line), soft_wrap=True)

    def _show(self, state: str) -> None:
        self._state = state
        if not self._live:
            return
        parts: list[Table | Text] = []
        if self._recent:
            table = Table(box=None, pad_edge=False)
            for name in self._recent[-1].cells(self._num_steps):
                table.add_column(name, justify="right")
            for record in self._recent:
                table.add_row(*record.cells(self._num_steps).values())
            parts.append(table)
        if state:
            parts.append(Text(state, style="dim"))
        self._live.update(Group(*parts), refresh=True)
