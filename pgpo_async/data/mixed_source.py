"""Several prompt sources as one, drawn in the proportions of their weights; each runs through its own epochs.

Owns how a prompt is named in the mixture: its source's number leads its id, since two sources may have files
of the same name. When which source is drawn is `mixing`'s work. Made by `sources.train_source`.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.data.mixing import MixingSchedule

if TYPE_CHECKING:
    from pgpo_async.data.sources import PromptSource


class MixedSource:
    """A `PromptSource` without an end: its parts end their epochs at different times."""

    num_rows: int | None = None

    def __init__(self, sources: Sequence["PromptSource"], weights: Sequence[float], *, seed: int) -> None:
        self.name = " + ".join(source.name for source in sources)
        self._sources = tuple(sources)
        self._weights = tuple(weights)
        self._seed = seed
        self._schedule = MixingSchedule(weights, seed=seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._sources, self._weights, self._seed)

    def prompt(self, index: int) -> Prompt:
        """Return the prompt at a drawing index; see `PromptSource`."""
        number, inner = self._schedule.locate(index)
        try:
            return _renamed(self._sources[number].prompt(inner), number, index)
        except PromptError as error:
            prompt_id = f"{number}/{error.prompt_id}"
            message = error.message.replace(f"prompt {error.prompt_id}:", f"prompt {prompt_id}:", 1)
            seen = None if error.prompt is None else _renamed(error.prompt, number, index)
            raise PromptError(message, reason=error.reason, prompt_id=prompt_id, prompt=seen) from error


def _renamed(prompt: Prompt, number: int, index: int) -> Prompt:
    return dataclasses.replace(prompt, prompt_id=f"{number}/{prompt.prompt_id}", index=index)


def _rebuild(sources: Sequence["PromptSource"], weights: Sequence[float], seed: int) -> MixedSource:
    return MixedSource(sources, weights, seed=seed)
