"""The prompts: whether their sources open, and whether what is drawn first can be used as a run would.

Owns how many are tried and how their faults are summed up. Reading is `data`'s.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, Prompt, PromptError
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.data.sources import PromptSource, held_out_source, train_source
from pgpo_async.orchestration.doctor.lines import Line, error, ok, shortened, warning

NUM_TRIED = 8
_MEND = "mend these rows, or change the field that the message names: a run quarantines them"


def prompt_lines(config: RunConfig, processor: Any) -> Iterator[Line]:
    """Yield a line on the prompts to train on, and one on the held-out ones. `processor` may be None."""
    encoder = None
    if processor is not None:
        try:
            encoder = ChatEncoder(processor, config.data, config.model)
        except ConfigError as cause:
            yield error("data", "; ".join(cause.issues), "set model.path to a supported model")
    yield _source_line("data.source", lambda: train_source(config), encoder, config)
    if config.evaluation.num_prompts:
        yield _source_line("evaluation.source", lambda: held_out_source(config), encoder, config)


def first_prompts(source: PromptSource, number: int) -> tuple[list[Prompt], list[PromptError]]:
    """The prompts that a run would draw first, and what is wrong with the others of them."""
    rows = source.num_rows
    prompts, problems = [], []
    for index in range(number if rows is None else min(number, rows)):
        try:
            prompts.append(source.prompt(index))
        except PromptError as cause:
            problems.append(cause)
    return prompts, problems


def _source_line(
    field: str, opened: Callable[[], PromptSource], encoder: ChatEncoder | None, config: RunConfig
) -> Line:
    try:
        source = opened()
    except ConfigError as cause:
        return error(
            field, "; ".join(cause.issues), f"set {field} to builtin:shapes, a .parquet or a .jsonl file"
        )
    prompts, problems = first_prompts(source, NUM_TRIED)
    num = len(prompts) + len(problems)
    lengths = []
    for prompt in prompts:
        try:
            if encoder is not None:
                lengths.append(encoder.encode(prompt).num_prompt_tokens)
        except PromptError as cause:
            problems.append(cause)
    rows = "endless" if source.num_rows is None else f"{source.num_rows:,} rows"
    if problems:
        num_good = num - len(problems)
        reasons = Counter(problem.reason for problem in problems)
        counted = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        found = f"{num_good} of the first {num} prompts can be used ({counted}): {problems[0].message}"
        return (warning if num_good else error)(field, shortened(f"{source.name}: {found}"), _MEND)
    if not any(prompt.images for prompt in prompts):
        found = f"{source.name} ({rows}): no images in the first {num} prompts, so nothing depends on seeing"
        return warning(field, found, "check the column `images`: bytes, paths, or lists of them")
    images = sum(len(prompt.images) for prompt in prompts)
    tokens = (
        f", {min(lengths)} to {max(lengths)} tokens of {config.data.max_prompt_tokens}" if lengths else ""
    )
    return ok(field, f"{source.name} ({rows}): the first {num} can be used, {images} images decode{tokens}")
