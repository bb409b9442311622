"""The demo's data sets as prompt sources: endless, seeded, nothing to download."""

from collections.abc import Callable
from dataclasses import dataclass

from pgpo_async.contracts import Prompt
from pgpo_async.demo.scenes import DemoExample, Split
from pgpo_async.demo.task import TASKS

BUILTIN_SOURCES: dict[str, Callable[[Split, int, int], DemoExample]] = {
    f"builtin:{name}": task.example for name, task in TASKS.items()
}
"""The names that a config may state, each with the function that makes its examples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltinSource:
    """A `PromptSource` over one of `BUILTIN_SOURCES`; every index is a new example: no epochs."""

    name: str
    split: Split
    seed: int
    num_rows: int | None = None

    def prompt(self, index: int) -> Prompt:
        """Return the prompt at a drawing index; see `PromptSource`."""
        example = BUILTIN_SOURCES[self.name](self.split, self.seed, index)
        return Prompt(
            prompt_id=example.example_id,
            question=example.question,
            answer=example.answer,
            images=(example.image_png,),
            index=index,
        )
