"""What travels down the pipe: prompts, rollouts, groups, scored groups, train batches.

Owns the types only. Frozen: a stage makes a new object, it never edits one. Arrays are numpy, one
dimension, one entry for each response token (T) or prompt token (P). `contracts.arrow` encodes them.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]


REFERENCE = "reference_logprobs"
"""The name in `ScoredGroup.signals` of the log-probs of the model that the run started from."""


class _ByValue:
    """Equality that looks into numpy arrays (NaN equals NaN), for frozen dataclasses."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(
            _same(getattr(self, f.name), getattr(other, f.name))
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
        )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return (
            a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def content_hash(data: bytes | bytearray | memoryview) -> str:
    """Return the hex xxh3-128 of some bytes: the key of an image, a bucket, a tensor."""
    return xxhash.xxh3_128_hexdigest(data)


ContentHash = xxhash.xxh3_128
"""The same of bytes that come one after another: `update`, then `hexdigest`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A question with its images (encoded bytes: PNG, JPEG, ...) and reference answer.

    `question` may hold one `<image>` marker for each image, which says where it goes; with none, the
    images come first. `index` is the prompt's position in its source's drawing order.
    """

    prompt_id: str
    question: str
    answer: str
    images: tuple[bytes, ...] = ()
    index: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionSpan:
    """Response tokens [start, end) were sampled by weight version `version`."""

    version: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rollout(_ByValue):
    """One response to a prompt.

    `response_token_ids` int32 [T] includes the end token where the model wrote one;
    `behaviour_logprobs` float32 [T] are what vLLM sampled with; `version_spans` cover [0, T) in order.
    `finish_reason` is "stop" or "length". `reward` is the weighted sum of `reward_parts`.
    """

    response_token_ids: Int32Array
    behaviour_logprobs: Float32Array
    version_spans: tuple[VersionSpan, ...]
    finish_reason: str
    text: str
    reward: float = 0.0
    reward_parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def truncated(self) -> bool:
        """Whether the response was cut at its limit."""
        return self.finish_reason == "length"

    def __post_init__(self) -> None:
        num_tokens = len(self.response_token_ids)
        if len(self.behaviour_logprobs) != num_tokens:
            raise ValueError(
                f"behaviour_logprobs must have one entry for each of the {num_tokens} response tokens, "
                f"got {len(self.behaviour_logprobs)}"
            )
        position = 0
        for span in self.version_spans:
            if span.start != position or span.end < span.start:
                raise ValueError(f"version_spans must cover [0, {num_tokens}) in order, got {span}")
            position = span.end
        if position != num_tokens:
            raise ValueError(f"version_spans must cover [0, {num_tokens}), got end {position}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupHeader:
    """What queue and driver need to know of a group without decoding it.

    Truncated responses are counted in the totals, too.
    """

    group_id: str
    num_rollouts: int
    num_prompt_tokens: int
    num_response_tokens: int
    oldest_version: int
    newest_version: int
    num_mixed_rollouts: int
    mean_reward: float
    mean_parts: Mapping[str, float]
    num_truncated: int = 0
    num_truncated_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RolloutGroup(_ByValue):
    """The G responses to one prompt. `prompt_token_ids` int32 [P] has the image placeholders expanded."""

    group_id: str
    prompt: Prompt
    prompt_token_ids: Int32Array
    rollouts: tuple[Rollout, ...]
    generator: str = ""

    def header(self) -> GroupHeader:
        """Summarise the group for the queue; an empty response counts as its group's other versions."""
        versions = [span.version for r in self.rollouts for span in r.version_spans]
        parts = {name for r in self.rollouts for name in r.reward_parts}
        size = max(len(self.rollouts), 1)
        truncated = [r for r in self.rollouts if r.truncated]
        return GroupHeader(
            group_id=self.group_id,
            num_rollouts=len(self.rollouts),
            num_prompt_tokens=len(self.prompt_token_ids),
            num_response_tokens=sum(len(r.response_token_ids) for r in self.rollouts),
            oldest_version=min(versions, default=0),
            newest_version=max(versions, default=0),
            num_mixed_rollouts=sum(len({s.version for s in r.version_spans}) > 1 for r in self.rollouts),
            mean_reward=sum(r.reward for r in self.rollouts) / size,
            mean_parts={
                name: sum(r.reward_parts.get(name, 0.0) for r in self.rollouts) / size
                for name in sorted(parts)
            },
            num_truncated=len(truncated),
            num_truncated_tokens=sum(len(r.response_token_ids) for r in truncated),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredGroup(_ByValue):
    """A group after the scorer: for each rollout float32 [T] proximal log-probs, dependency, weights.

    `token_weights` are the shaper's factors (mass T in each rollout). `scorer_version` is the weight
    version of all passes: sighted and blind come from one policy (DESIGN 5.4). `signals` are what a shaper
    that must see the whole batch reads later, by the names of `algorithms.shaping.Signals`.
    """

    group: RolloutGroup
    proximal_logprobs: tuple[Float32Array, ...]
    dependency: tuple[Float32Array, ...]
    token_weights: tuple[Float32Array, ...]
    scorer_version: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    signals: Mapping[str, tuple[Float32Array, ...]] = field(default_factory=dict)

    @classmethod
    def unscored(cls, group: RolloutGroup) -> "ScoredGroup":
        """A group that needs no scorer: weights 1, nothing measured (nan), `scorer_version` -1."""
        lengths = [len(rollout.response_token_ids) for rollout in group.rollouts]
        nothing = tuple(np.full(length, np.nan, np.float32) for length in lengths)
        return cls(
            group=group,
            proximal_logprobs=nothing,
            dependency=nothing,
            token_weights=tuple(np.ones(length, np.float32) for length in lengths),
            scorer_version=-1,
        )

    def __post_init__(self) -> None:
        lengths = [len(r.response_token_ids) for r in self.group.rollouts]
        rows = {
            "proximal_logprobs": self.proximal_logprobs,
            "dependency": self.dependency,
            "token_weights": self.token_weights,
            **self.signals,
        }
        for name, row in rows.items():
            got = [len(values) for values in row]
            if got != lengths:
                raise ValueError(f"{name} must have the response lengths {lengths}, got {got}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainBatch(_ByValue):
    """One optimizer step's work for one rank; `version` is that of the weights it begins with.

    `normalizer` is the loss's divisor over the whole step and all ranks (tokens, or sequences), so that
    splitting differently changes nothing (DESIGN 5.6).
    """

    step: int
    groups: tuple[ScoredGroup, ...]
    normalizer: float
    version: int
