"""Means of answers with their errors, and whether two models differ.

Prompts are a sample of those that could be asked: errors are over prompts, never over a prompt's own
responses, and prompts that belong together (`groups`) count as one draw. Pure; numpy only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z_95 = 1.959964
"""Standard errors in half of a 95 % interval of a normal distribution."""
NUM_FLIPS = 10_000
_FLIPS_AT_ONCE = 500

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean with its standard error, both as a share."""

    mean: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by the normal distribution, within [0, 1]."""
        half = Z_95 * self.standard_error
        return max(0.0, self.mean - half), min(1.0, self.mean + half)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Of two models on the same prompts; `p_value` of the two-sided test that they do not differ."""

    mean: float
    standard_error: float
    p_value: float
    num_prompts: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by the normal distribution."""
        half = Z_95 * self.standard_error
        return self.mean - half, self.mean + half


def estimate(values: Sequence[float], groups: Sequence[str] | None = None) -> Estimate:
    """Return the mean over prompts and its standard error.

    `groups` names for each prompt the one it belongs to (cluster-robust error); each its own where not given.
    With one group the error is infinite. Raises ValueError for no values.
    """
    if not len(values):
        raise ValueError("an estimate must have at least one value, got none")
    mean = math.fsum(values) / len(values)
    sums = _group_sums([value - mean for value in values], groups)
    return Estimate(mean=mean, standard_error=_error_of_sums(sums, len(values)))


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of independent estimates, each with the same weight: the tables' last column."""
    if not estimates:
        raise ValueError("an average must be of at least one estimate, got none")
    num = len(estimates)
    return Estimate(
        mean=math.fsum(e.mean for e in estimates) / num,
        standard_error=math.sqrt(math.fsum(e.standard_error**2 for e in estimates)) / num,
    )


def pass_at_k(num_right: int, num_samples: int, k: int) -> float:
    """Return the chance that one of `k` responses, drawn from those sampled, is right.

    1 - C(n - c, k) / C(n, k), which is unbiased (Chen et al., arXiv 2107.03374, eq. 1). Raises ValueError
    unless 0 <= num_right <= num_samples and 1 <= k <= num_samples.
    """
    if not 0 <= num_right <= num_samples or not 1 <= k <= num_samples:
        raise ValueError(
            f"must have 0 <= num_right <= num_samples and 1 <= k <= num_samples, got {num_right}, "
            f"{num_samples}, k {k}"
        )
    return 1.0 - math.comb(num_samples - num_right, k) / math.comb(num_samples, k)


def paired_difference(
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    groups: Mapping[str, str] | None = None,
    *,
    seed: int = 0,
) -> Difference:
    """Return ours - theirs over the prompts that both have; see `paired_average`."""
    return paired_average([(ours, theirs, groups)], seed=seed)


def paired_average(
    pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float], Mapping[str, str] | None]],
    *,
    seed: int = 0,
) -> Difference:
    """Return the difference of two models over benchmarks, each with the same weight.

    A pair holds a benchmark's means by prompt, of both, and the prompts' groups. The test flips the signs of
    the groups' differences at random (`NUM_FLIPS` times, seeded). Raises ValueError where a benchmark has no
    prompt in common.
    """
    means, errors, weights, num_prompts = [], [], [], 0
    for ours, theirs, groups in pairs:
        common = [prompt for prompt in ours if prompt in theirs]
        if not common:
            raise ValueError("two evaluations must have prompts in common, got none")
        each = [ours[prompt] - theirs[prompt] for prompt in common]
        names = None if groups is None else [groups.get(prompt, prompt) for prompt in common]
        mean = math.fsum(each) / len(each)
        means.append(mean)
        errors.append(_error_of_sums(_group_sums([value - mean for value in each], names), len(each)))
        weights.append(_group_sums(each, names) / (len(each) * len(pairs)))
        num_prompts += len(common)
    found = math.fsum(means) / len(means)
    return Difference(
        mean=found,
        standard_error=math.sqrt(math.fsum(error**2 for error in errors)) / len(errors),
        p_value=_p_value(found, np.concatenate(weights), seed),
        num_prompts=num_prompts,
    )


def _group_sums(values: Sequence[float], groups: Sequence[str] | None) -> Floats:
    if groups is None:
        return np.asarray(values, dtype=np.float64)
    sums: dict[str, float] = {}
    for value, group in zip(values, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + value
    return np.asarray(list(sums.values()), dtype=np.float64)


def _error_of_sums(sums: Floats, num_values: int) -> float:
    if len(sums) < 2:
        return math.inf
    return math.sqrt(float(np.square(sums).sum()) * len(sums) / (len(sums) - 1)) / num_values


def _p_value(found: float, weighted: Floats, seed: int) -> float:
    random = np.random.RandomState(seed)  # whose stream numpy promises for ever
    as_far = 0
    for _ in range(NUM_FLIPS // _FLIPS_AT_ONCE):
        signs = random.randint(0, 2, size=(_FLIPS_AT_ONCE, len(weighted))).astype(np.int8) * 2 - 1
        as_far += int((np.abs(signs @ weighted) >= abs(found) - 1e-12).sum())
    return (1 + as_far) / (1 + NUM_FLIPS)
