"""Two evaluations on the same prompts: per benchmark and on average, whether they differ.

Owns the reading of the other one. The test is `evaluation.estimates.paired_average`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.contracts import ConfigError
from pgpo_async.evaluation.answer_file import Books, read_answers
from pgpo_async.evaluation.estimates import Difference, paired_average, paired_difference
from pgpo_async.suite import identity
from pgpo_async.suite.benchmarks import Benchmark
from pgpo_async.suite.target import EVALUATIONS

_MODELS_OWN = {"weights", "dtype", "suite", "benchmarks"}
"""Settings in which two evaluations may differ and still be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Ours less theirs, by benchmark and on average."""

    other: Path
    benchmarks: Mapping[str, Difference]
    average: Difference
    warnings: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` writes it."""
        return {
            "other": str(self.other),
            "benchmarks": {name: asdict(found) for name, found in self.benchmarks.items()},
            "average": asdict(self.average),
        }

    def table(self, titles: Mapping[str, str]) -> Table:
        """Return it for printing, in percentage points."""
        table = Table(title=f"difference from {self.other}, paired by prompt", title_justify="left")
        for name in ("benchmark", "prompts", "points", "95 %", "p"):
            table.add_column(name, justify="left" if name == "benchmark" else "right", no_wrap=True)
        for name, found in self.benchmarks.items():
            table.add_row(titles[name], *_cells(found))
        if len(self.benchmarks) > 1:
            table.add_section()
            table.add_row("average", *_cells(self.average))
        return table


def find_other(path: Path, folder: Path) -> Path:
    """Return the folder of the evaluation to compare with: `path`, or the one of the same name in a run.

    Raises ConfigError where there is none.
    """
    for found in (path, path / EVALUATIONS / folder.name):
        if (found / identity.NAME).is_file():
            return found
    raise ConfigError(
        f"--against: must be an evaluation's folder, or a run with {EVALUATIONS}/{folder.name}, got {path}"
    )


def compare(folder: Path, other: Path, benchmarks: Sequence[Benchmark]) -> Comparison:
    """Compare an evaluation with another. Raises ConfigError where they have no prompts in common."""
    ours, theirs = identity.read_settings(folder), identity.read_settings(other)
    assert ours is not None, "it has been run"
    assert theirs is not None, "find_other found it"
    own, their = _means(folder, ours), _means(other, theirs)
    pairs = {
        b.name: (own[b.name], their[b.name], b.labels.groups or None)
        for b in benchmarks
        if set(own.get(b.name, ())) & set(their.get(b.name, ()))
    }
    if not pairs:
        raise ConfigError(f"--against: {other} must have prompts in common with {folder}, has none")
    left_out = [b.name for b in benchmarks if b.name not in pairs]
    differing = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return Comparison(
        other=other,
        benchmarks={name: paired_difference(*pair) for name, pair in pairs.items()},
        average=paired_average(list(pairs.values())),
        warnings=[
            *(f"{name} is not compared: {other} has none of its prompts" for name in left_out),
            *(
                f"the two were asked with another {name}: {ours.get(name)} and {theirs.get(name)}"
                for name in differing
                if name not in _MODELS_OWN
            ),
        ],
    )


def _means(folder: Path, settings: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    books: Books = read_answers(folder, int(settings["samples_per_prompt"]))
    return {
        name: {prompt: found.accuracy for prompt, found in answered.items()}
        for name, answered in books.items()
    }


def _cells(found: Difference) -> tuple[str, str, str, str]:
    low, high = found.interval
    return (
        str(found.num_prompts),
        f"{100 * found.mean:+.2f}",
        f"{100 * low:+.2f} to {100 * high:+.2f}",
        f"{found.p_value:.4f}",
    )
