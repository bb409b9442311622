"""The built-in shapes data as a prompt source: endless, seeded, nothing to download."""

from dataclasses import dataclass

from pgpo_async.contracts import Prompt
from pgpo_async.demo.shapes import Split, shapes_example


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapesSource:
    """A `PromptSource` over `demo.shapes`; every index is a new example, so there are no epochs."""

    split: Split
    seed: int
    name: str = "builtin:shapes"
    num_rows: int | None = None

    def prompt(self, index: int) -> Prompt:
        """Return the prompt at a drawing index; see `PromptSource`."""
        example = shapes_example(self.split, self.seed, index)
        return Prompt(
            prompt_id=example.example_id,
            question=example.question,
            answer=example.answer,
            images=(example.image_png,),
            index=index,
        )
