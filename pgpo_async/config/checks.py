"""What is wrong, or only doubtful, in the combination of several fields. Called by `schema.RunConfig`.

A `Problem` names every field it depends on, the one to blame first: `validation` shows it where one of them
was written, and drops it where one of them is wrong in itself, for then the combination says nothing.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgpo_async.config.issues import field_name
from pgpo_async.config.masking import MASK, mask_places, masked_text
from pgpo_async.config.problem import Problem, problem
from pgpo_async.config.role_checks import lora_problems, lora_warnings, role_problems

if TYPE_CHECKING:
    from pgpo_async.config.inputs import DataConfig
    from pgpo_async.config.schema import RunConfig

REWARD_KEYS = ("accuracy", "format", "reward")
"""What the built-in reward can be filtered by."""

SMALLEST_SHARE = 1e-4
"""Of one source among `data.sources`: a block of the mixing schedule, made at once, holds a draw of each."""


def problems(config: "RunConfig") -> Iterator[Problem]:
    """Yield each thing that cannot work."""
    yield from _masked_problems(config)
    yield from _input_problems(config)
    yield from _algorithm_problems(config)
    yield from _reward_problems(config)
    yield from role_problems(config)
    yield from lora_problems(config)
    yield from _step_problems(config)
    yield from _evaluation_problems(config)


def warnings(config: "RunConfig") -> Iterator[str]:
    """Yield each thing that works, but not as one may expect."""
    generation, train = config.generation, config.train
    if generation.top_p < 1.0:
        yield (
            f"generation.top_p {generation.top_p} is below 1: the behaviour log-probs are of the truncated "
            "distribution, the trainer's of the full one, so every importance weight is biased low"
        )
    if config.mode == "async" and train.max_lag == 0:
        yield "train.max_lag 0: generation waits for each update, so nothing overlaps"
    elif config.max_lag > 0 and config.algorithm.is_mode == "off":
        yield (
            f"algorithm.is_mode 'off' with train.max_lag {train.max_lag}: nothing corrects for responses "
            "that older weights sampled"
        )
    if generation.group_size == 1:
        yield "generation.group_size 1: a response has none to compare with, every advantage is 0"
    capacity = config.generator.replicas * config.generator.prompts_in_flight
    if capacity > config.max_slots:
        yield (
            f"generator.prompts_in_flight times generator.replicas is {capacity}, but admission lets only "
            f"{config.max_slots} groups ((max_lag + 1) * groups_per_step) be in flight or queued"
        )
    yield from lora_warnings(config)
    if config.ray.address is not None and (config.ray.num_cpus or config.ray.object_store_bytes):
        yield "ray.num_cpus and ray.object_store_bytes are of a Ray started here, ray.address joins another"


def _masked_problems(config: "RunConfig") -> Iterator[Problem]:
    for path in mask_places(config.model_dump()):
        yield Problem(
            fields=(path,),
            message=f"must be given again, got {MASK!r}: a run's config.yaml holds no secrets; add "
            f"{field_name(path)}=VALUE to the command",
        )


def _input_problems(config: "RunConfig") -> Iterator[Problem]:
    if not config.name or "/" in config.name:
        yield problem(f"must be text without '/', got {config.name!r}", "name")
    for field, text in (
        ("output_dir", config.output_dir),
        ("model.path", config.model.path),
        ("evaluation.source", config.evaluation.source),
    ):
        if not text.strip():
            yield problem(f"must not be empty, got {text!r}", field)
    yield from _source_problems(config.data)
    for field, seed in (("seed", config.seed), ("data.seed", config.data.seed)):
        if seed < 0:
            yield problem(f"must be at least 0, got {seed}", field)
    low, high = config.model.min_pixels, config.model.max_pixels
    if low is not None and high is not None and low > high:
        yield problem(
            f"must be at most model.max_pixels ({high}), got {low}", "model.min_pixels", "model.max_pixels"
        )


def _source_problems(data: "DataConfig") -> Iterator[Problem]:
    given = bool(data.source.strip())
    if given == bool(data.sources):
        got = f"{masked_text(data.source)!r} and {len(data.sources)} sources"
        yield problem(
            f"must be given, or else data.sources, and not both, got {got}",
            "data.source",
            "data.sources",
        )
    named = [("data.columns", data.columns)]
    whole = sum(source.weight for source in data.sources)
    for number, source in enumerate(data.sources):
        field = f"data.sources.{number}"
        named += [(f"{field}.columns", source.columns)] if source.columns else []
        if not source.source.strip():
            yield problem(f"must not be empty, got {source.source!r}", f"{field}.source")
        if source.weight < whole * SMALLEST_SHARE:
            yield problem(
                f"must be at least {SMALLEST_SHARE} of the weights' sum ({whole:g}), got {source.weight:g}",
                f"{field}.weight",
                "data.sources",
            )
    for field, columns in named:
        for name, column in columns.model_dump().items():
            if not column.strip():
                yield problem(f"must not be empty, got {column!r}", f"{field}.{name}")


def _algorithm_problems(config: "RunConfig") -> Iterator[Problem]:
    algorithm = config.algorithm
    if config.generation.group_size == 1 and algorithm.advantage != "none":
        yield problem(
            f"must be at least 2 with algorithm.advantage {algorithm.advantage!r}, which compares a group's "
            "responses, got 1",
            "generation.group_size",
            "algorithm.advantage",
        )
    if algorithm.proximal == "interpolated":
        for field, value in algorithm.scorer_reasons.items():
            yield problem(
                f"must be 'auto' or 'scored' with algorithm.{field} {value}, which asks for a scorer, "
                "got 'interpolated'",
                "algorithm.proximal",
                f"algorithm.{field}",
            )
    buffer, longest = config.reward.overlong_buffer_tokens, config.generation.max_response_tokens
    if buffer > longest:
        yield problem(
            f"must be at most generation.max_response_tokens ({longest}), got {buffer}",
            "reward.overlong_buffer_tokens",
            "generation.max_response_tokens",
        )
    yield from _ordered("algorithm.icepop_low", algorithm.icepop_low, algorithm.icepop_high)
    yield from _ordered("algorithm.filter.low", algorithm.filter.low, algorithm.filter.high)
    for index, beta in enumerate(config.learner.optimizer.betas):
        if not 0.0 <= beta < 1.0:
            yield problem(f"must be in [0, 1), got {beta}", f"learner.optimizer.betas.{index}")


def _ordered(low_field: str, low: float, high: float) -> Iterator[Problem]:
    high_field = low_field.removesuffix("low") + "high"
    if low >= high:
        yield problem(f"must be below {high_field} ({high}), got {low}", low_field, high_field)


def _reward_problems(config: "RunConfig") -> Iterator[Problem]:
    reward, key = config.reward, config.algorithm.filter.key
    if reward.function is not None:
        module, colon, function = reward.function.rpartition(":")
        if not (module and colon and function.isidentifier()):
            yield problem(
                f"must be 'module:function' or 'path/to/file.py:function', got {reward.function!r}",
                "reward.function",
            )
        return
    if key not in REWARD_KEYS:
        expected = ", ".join(repr(name) for name in REWARD_KEYS)
        yield problem(
            f"must be one of {expected} without a reward.function, got {key!r}",
            "algorithm.filter.key",
            "reward.function",
        )
    if reward.accuracy_weight == 0 and reward.format_weight == 0:
        yield problem(
            "must be above 0 where reward.format_weight is 0, got 0: every reward would be 0",
            "reward.accuracy_weight",
            "reward.format_weight",
            "reward.function",
        )


def _evaluation_problems(config: "RunConfig") -> Iterator[Problem]:
    evaluation, most = config.evaluation, config.generation.max_response_tokens
    if evaluation.every and not evaluation.num_prompts:
        yield problem(
            f"needs evaluation.num_prompts above 0, got {evaluation.num_prompts}",
            "evaluation.every",
            "evaluation.num_prompts",
        )
    if evaluation.max_response_tokens is not None and evaluation.max_response_tokens > most:
        yield problem(
            f"must be at most generation.max_response_tokens ({most}), which the engines are made for, got "
            f"{evaluation.max_response_tokens}",
            "evaluation.max_response_tokens",
            "generation.max_response_tokens",
        )


def _step_problems(config: "RunConfig") -> Iterator[Problem]:
    train, learner, max_groups = config.train, config.learner, config.queue.max_groups
    if train.groups_per_step < learner.replicas:
        yield problem(
            f"must be at least learner.replicas ({learner.replicas}), so that each rank has a group, "
            f"got {train.groups_per_step}",
            "train.groups_per_step",
            "learner.replicas",
        )
    largest = train.max_lag * train.groups_per_step
    if config.mode == "async" and train.order_window is not None and train.order_window > largest:
        yield problem(
            f"must be at most train.max_lag * train.groups_per_step ({largest}), or no batch ever fills, "
            f"got {train.order_window}",
            "train.order_window",
            "train.max_lag",
            "train.groups_per_step",
        )
    if max_groups is not None and max_groups < train.groups_per_step:
        yield problem(
            f"must be at least train.groups_per_step ({train.groups_per_step}), or no batch ever fills, "
            f"got {max_groups}",
            "queue.max_groups",
            "train.groups_per_step",
        )
    if learner.optimizer.warmup_steps > train.num_steps:
        yield problem(
            f"must be at most train.num_steps ({train.num_steps}), got {learner.optimizer.warmup_steps}",
            "learner.optimizer.warmup_steps",
            "train.num_steps",
        )
