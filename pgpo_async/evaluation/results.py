"""The figures of an evaluation: a benchmark's row, the average's, and the table they make.

avg@k is the mean over prompts of the share of right responses; pass@k the chance that one of k is right.
Errors are over prompts (`estimates`). A prompt that could not be asked, or whose answers could not be
verified, is counted and never taken as wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from pgpo_async.evaluation.answer_file import Answered
from pgpo_async.evaluation.estimates import Estimate, average, estimate, pass_at_k

RIGHT = 0.5
"""Above it a response counts as right for pass@k, where accuracy has values between 0 and 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """Of a benchmark's prompts, by id: what tables are broken down by, and what is scored together."""

    categories: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkResult:
    """One row. Shares are in [0, 1]."""

    name: str
    title: str
    num_prompts: int
    failures: Mapping[str, int]
    """Prompts without answers, by reason."""
    accuracy: Estimate
    pass_at: Mapping[int, Estimate]
    mean_tokens: float
    cut_share: float
    """Of the responses, cut at the longest length."""
    categories: Mapping[str, tuple[float, int]]
    """Accuracy and number of prompts of each."""

    def as_json(self) -> dict[str, Any]:
        """Return the row as `results.json` has it."""
        return {
            "title": self.title,
            "num_prompts": self.num_prompts,
            "num_failed": sum(self.failures.values()),
            "failures": dict(self.failures),
            **_estimate_json(self.accuracy),
            "pass_at": {str(k): _estimate_json(found) for k, found in self.pass_at.items()},
            "mean_response_tokens": self.mean_tokens,
            "cut_share": self.cut_share,
            "categories": {
                name: {"accuracy": mean, "num_prompts": num} for name, (mean, num) in self.categories.items()
            },
        }


def benchmark_result(
    name: str,
    title: str,
    answered: Mapping[str, Answered],
    failures: Sequence[str] = (),
    labels: Labels | None = None,
) -> BenchmarkResult:
    """Return a benchmark's row. Raises ValueError where no prompt was answered."""
    if not answered:
        raise ValueError(
            f"{name}: accuracy must have at least one answered prompt, got none ({dict(Counter(failures))})"
        )
    labels = labels or Labels()
    prompts = sorted(answered)  # answers come in any order; sums of floats should not depend on it
    groups = [labels.groups.get(prompt, prompt) for prompt in prompts]
    each = [answered[prompt] for prompt in prompts]
    num_samples = len(each[0].accuracies)
    ks = [k for k in (2**power for power in range(num_samples.bit_length())) if k <= num_samples]
    rights = [sum(value > RIGHT for value in found.accuracies) for found in each]
    by_category: dict[str, list[float]] = defaultdict(list)
    for prompt, found in zip(prompts, each, strict=True):
        if prompt in labels.categories:
            by_category[labels.categories[prompt]].append(found.accuracy)
    tokens = [number for found in each for number in found.num_tokens]
    return BenchmarkResult(
        name=name,
        title=title,
        num_prompts=len(each),
        failures=Counter(failures),
        accuracy=estimate([found.accuracy for found in each], groups),
        pass_at={
            k: estimate([pass_at_k(right, num_samples, k) for right in rights], groups)
            for k in dict.fromkeys([*ks, num_samples])
        },
        mean_tokens=_mean(tokens),
        cut_share=sum(found.num_cut for found in each) / len(tokens),
        categories={name: (_mean(found), len(found)) for name, found in sorted(by_category.items())},
    )


def results_json(results: Sequence[BenchmarkResult]) -> dict[str, Any]:
    """Return all rows and their average, as `results.json` has them."""
    return {
        "benchmarks": {result.name: result.as_json() for result in results},
        "average": _estimate_json(average([result.accuracy for result in results])),
    }


def results_table(results: Sequence[BenchmarkResult], *, title: str) -> Table:
    """Return the rows for printing: shares in percent, errors as half of the 95 % interval."""
    num_samples = max(max(result.pass_at) for result in results)
    table = Table(title=title, title_justify="left")
    for name in (
        "benchmark",
        "prompts",
        f"avg@{num_samples}",
        "95 %",
        f"pass@{num_samples}",
        "tokens",
        "cut",
    ):
        table.add_column(name, justify="left" if name == "benchmark" else "right", no_wrap=True)
    for result in results:
        failed = sum(result.failures.values())
        table.add_row(
            result.title,
            f"{result.num_prompts}" + (f" (+{failed} failed)" if failed else ""),
            *_percent(result.accuracy),
            f"{100 * result.pass_at[max(result.pass_at)].mean:.2f}",
            f"{result.mean_tokens:.0f}",
            f"{100 * result.cut_share:.1f}",
        )
    if len(results) > 1:
        table.add_section()
        table.add_row("average", "", *_percent(average([result.accuracy for result in results])), "", "", "")
    return table


def _percent(found: Estimate) -> tuple[str, str]:
    low, high = found.interval
    return f"{100 * found.mean:.2f}", f"{100 * low:.2f} to {100 * high:.2f}"


def _estimate_json(found: Estimate) -> dict[str, Any]:
    return {
        "accuracy": found.mean,
        "standard_error": found.standard_error,
        "interval95": list(found.interval),
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
