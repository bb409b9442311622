"""The six quantities of each response token of a group, and why one is not known.

Owns which field of a scored group each quantity is. The maths is `pgpo_async.algorithms`'. Called by
`run` and `model`; `page` shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from pgpo_async.algorithms.advantages import group_advantages
from pgpo_async.algorithms.off_policy import LOG_RATIO_CLIP, importance_weights
from pgpo_async.algorithms.rows import pad_rows, row_mask, unpad_rows
from pgpo_async.algorithms.shaping import PgpoShaper, Signals, make_shaper
from pgpo_async.config.shapers import DEFAULT_SHAPER, ShaperConfig
from pgpo_async.config.training import AlgorithmConfig
from pgpo_async.contracts import Rollout, ScoredGroup
from pgpo_async.contracts.rollouts import Float32Array

Rows = tuple[Float32Array, ...]
"""float32 [T] for each response of a group; nan where a token's value is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """What tokens can be coloured by; `key` is its name in the page's data."""

    key: str
    label: str
    unit: str
    about: str


QUANTITIES = (
    Quantity(
        key="dependency",
        label="dependency",
        unit="nats",
        about="S: how much the image changed the token's probability",
    ),
    Quantity(key="weight", label="weight", unit="", about="w: the factor on the token's advantage"),
    Quantity(
        key="advantage",
        label="shaped advantage",
        unit="",
        about="A w: what pushes the token's probability up (positive) or down",
    ),
    Quantity(
        key="entropy",
        label="entropy",
        unit="nats",
        about="how undecided the model was when it wrote the token",
    ),
    Quantity(
        key="importance",
        label="importance weight",
        unit="",
        about="proximal over behaviour probability: 1 where sampler and trainer agree",
    ),
    Quantity(
        key="lag",
        label="lag",
        unit="",
        about="optimizer steps from the weights that sampled the token to those it trained",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroupValues:
    """Rows by the keys of `QUANTITIES`, and for those that are not there the reason.

    `capped` marks the importance weights that the loss cuts or leaves out, bool [T] each. `advantages` are
    those of whole responses, empty if there are none. `boosted_share` of the tokens have an importance of at
    least PGPO's threshold `tau`; None without dependency.
    """

    rows: Mapping[str, Rows]
    missing: Mapping[str, str]
    capped: tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], ...]
    advantages: tuple[float, ...]
    boosted_share: float | None
    tau: float

    @property
    def mean_dependency(self) -> float | None:
        """Over all tokens of the group where it was measured, nats."""
        return mean_known(self.rows["dependency"]) if "dependency" in self.rows else None


def group_values(
    scored: ScoredGroup,
    algorithm: AlgorithmConfig,
    *,
    version: int | None = None,
    entropy: Rows | None = None,
    missing: Mapping[str, str] | None = None,
) -> GroupValues:
    """Gather what is known of a group.

    `version` is that of the weights that trained on it, from which lags are counted; `entropy` is not part of
    a group. `missing` gives reasons that the caller knows: what it names is not looked for.
    """
    found: dict[str, Rows] = {}
    reasons = dict(missing or {})

    def add(key: str, rows: Rows | None, reason: str) -> None:
        if key in reasons:
            return
        if rows is None or not any(np.isfinite(row).any() for row in rows):
            reasons[key] = reason
        else:
            found[key] = rows

    add("dependency", scored.dependency, _no_dependency(scored, algorithm))
    add("weight", *_weights(scored, algorithm))
    advantages, no_advantage = _advantages(scored, algorithm)
    if "advantage" in reasons:
        advantages = ()
    shaped = tuple(
        np.float32(advantage) * row
        for advantage, row in zip(advantages, found.get("weight", ()), strict=False)
    )
    add("advantage", shaped, no_advantage or reasons.get("weight", "no token to weigh"))
    add("entropy", entropy, "not recorded in a group, and not measured now")
    add("importance", _ratios(scored), "no proximal log-probs: no scorer saw the group")
    lags = None if version is None else tuple(_lags(r, version) for r in scored.group.rollouts)
    add("lag", lags, "the version that trained on the group is not known")
    shaper = _pgpo(algorithm.shaper)
    return GroupValues(
        rows=found,
        missing=reasons,
        capped=_capped(scored, algorithm),
        advantages=advantages,
        boosted_share=_boosted_share(scored, shaper) if "dependency" in found else None,
        tau=shaper.tau,
    )


def mean_known(rows: Rows) -> float | None:
    """The mean of what is known in some rows; None if nothing is."""
    known = [row[np.isfinite(row)] for row in rows]
    flat = np.concatenate([np.empty(0, np.float32), *known])
    return float(flat.mean(dtype=np.float64)) if len(flat) else None


def _no_dependency(scored: ScoredGroup, algorithm: AlgorithmConfig) -> str:
    if scored.scorer_version < 0:
        return "not measured: the group passed no scorer (algorithm.dependency.measure=always sends it there)"
    return f"not measured: the shaper {algorithm.shaper.name!r} needs no blind pass"


def _weights(scored: ScoredGroup, algorithm: AlgorithmConfig) -> tuple[Rows | None, str]:
    name = algorithm.shaper.name
    try:
        scope = make_shaper(name, **algorithm.shaper.parameters()).scope
    except ValueError:  # one of the user's own that is not here
        scope = "response"
    ones = all((row == 1).all() for row in scored.token_weights)
    if scope == "batch" and ones:
        return None, f"{name!r} weighs all groups of a step together, in the learner: not part of a sample"
    return scored.token_weights, "no token has a weight"


def _advantages(scored: ScoredGroup, algorithm: AlgorithmConfig) -> tuple[tuple[float, ...], str]:
    rewards = [rollout.reward for rollout in scored.group.rollouts]
    try:
        advantages = group_advantages(
            torch.tensor(rewards, dtype=torch.float64),
            torch.zeros(len(rewards), dtype=torch.long),
            normalize=algorithm.advantage,
        )
    except ValueError as error:  # a lonely response, a reward that is no number
        return (), f"no advantage: {error}"
    return tuple(float(value) for value in advantages), ""


def _ratios(scored: ScoredGroup) -> Rows:
    """As they are before a cap; beyond e^20 not told apart, as in the loss."""
    return tuple(
        np.exp(np.clip(proximal - rollout.behaviour_logprobs, -LOG_RATIO_CLIP, LOG_RATIO_CLIP))
        for proximal, rollout in zip(scored.proximal_logprobs, scored.group.rollouts, strict=True)
    )


def _capped(
    scored: ScoredGroup, algorithm: AlgorithmConfig
) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], ...]:
    lengths = [len(row) for row in scored.proximal_logprobs]
    mask_BT = row_mask(lengths)
    behaviour = [rollout.behaviour_logprobs for rollout in scored.group.rollouts]
    weights = importance_weights(
        pad_rows(scored.proximal_logprobs, mask_BT),
        pad_rows(behaviour, mask_BT),
        mask_BT,
        mode=algorithm.is_mode,
        cap=algorithm.is_cap,
        bounds=(algorithm.icepop_low, algorithm.icepop_high),
    )
    known = [np.isfinite(row) for row in scored.proximal_logprobs]
    rows = unpad_rows(weights.capped_BT, lengths)
    return tuple((row != 0) & there for row, there in zip(rows, known, strict=True))


def _lags(rollout: Rollout, version: int) -> Float32Array:
    lags = np.full(len(rollout.response_token_ids), np.nan, np.float32)
    for span in rollout.version_spans:
        lags[span.start : span.end] = max(0, version - span.version)
    return lags


def _pgpo(shaper: ShaperConfig) -> PgpoShaper:
    """The run's own, or PGPO as it is by default, which other methods' dependency is measured against."""
    return PgpoShaper(**shaper.parameters()) if shaper.name == DEFAULT_SHAPER else PgpoShaper()


def _boosted_share(scored: ScoredGroup, shaper: PgpoShaper) -> float | None:
    if not all(np.isfinite(row).all() for row in scored.dependency):
        return None
    lengths = [len(row) for row in scored.dependency]
    mask_BT = row_mask(lengths)
    shaped = shaper.shape(
        Signals(
            mask_BT=mask_BT,
            has_image_B=torch.full((len(lengths),), bool(scored.group.prompt.images)),
            dependency_BT=pad_rows(scored.dependency, mask_BT),
        )
    )
    return float(shaped.metrics["boosted_share"])
