"""Prompts of a set of rows, drawn epoch after epoch in a seeded order.

Owns the mapping from a drawing index to a row. Picklable: it travels into a Ray actor and opens its files
there, on first use. Made by `sources.open_source`.
"""

from collections.abc import Callable
from typing import Any

from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.data.drawing import RowOrder, epoch_order
from pgpo_async.data.image_files import ImageRules
from pgpo_async.data.rows import RowReader, UnreadableRow, prompt_from_row

_EPOCHS_KEPT = 2  # prompts given back at an epoch's end are drawn again while the next one runs


class RowSource:
    """A `PromptSource` over the rows that `opener`, which must be picklable, opens. For one thread."""

    def __init__(
        self, name: str, opener: Callable[[], RowReader], *, seed: int, rules: ImageRules | None = None
    ) -> None:
        self.name = name
        self._opener = opener
        self._seed = seed
        self._rules = rules or ImageRules()
        self._reader: RowReader | None = None
        self._orders: dict[int, RowOrder] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.name, self._opener, self._seed, self._rules)

    @property
    def num_rows(self) -> int:
        """Number of rows: the length of an epoch."""
        return sum(self.open().block_sizes)

    def open(self) -> RowReader:
        """Return the reader, opened now if it was not. Raises ConfigError if the rows are unusable."""
        if self._reader is None:
            self._reader = self._opener()
        return self._reader

    def prompt(self, index: int) -> Prompt:
        """Return the prompt at a drawing index; see `PromptSource`."""
        if index < 0:
            raise ValueError(f"index must be at least 0, got {index}")
        epoch, place = divmod(index, self.num_rows)
        return self.row_prompt(int(self._order(epoch)[place]), index=index)

    def row_prompt(self, number: int, *, index: int) -> Prompt:
        """Return the prompt of a row, wherever it is drawn. Raises PromptError, see `PromptSource`."""
        reader = self.open()
        prompt_id = reader.row_name(number)
        try:
            row = reader.row(number)
        except (OSError, ValueError) as error:
            message = f"prompt {prompt_id}: row must be readable: {error}"
            text = error.text if isinstance(error, UnreadableRow) else ""
            seen = Prompt(prompt_id=prompt_id, question=text, answer="", index=index)
            raise PromptError(message, reason="unreadable_row", prompt_id=prompt_id, prompt=seen) from error
        return prompt_from_row(row, prompt_id=prompt_id, index=index, folder=reader.folder, rules=self._rules)

    def _order(self, epoch: int) -> RowOrder:
        if epoch not in self._orders:
            reader = self.open()
            order = epoch_order(reader.block_sizes, window=reader.window, seed=self._seed, epoch=epoch)
            while len(self._orders) >= _EPOCHS_KEPT:
                self._orders.pop(min(self._orders))
            self._orders[epoch] = order
        return self._orders[epoch]


def _rebuild(name: str, opener: Callable[[], RowReader], seed: int, rules: ImageRules) -> RowSource:
    return RowSource(name, opener, seed=seed, rules=rules)
