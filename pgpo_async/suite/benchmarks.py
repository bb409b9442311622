"""Which prompts an evaluation asks: the held-out ones of a config, a known suite, or a folder of files.

Owns the choice and its errors; reading is `data`'s work. Called by `evaluation`.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, Prompt, PromptError
from pgpo_async.data.files import READERS
from pgpo_async.data.image_files import ImageRules
from pgpo_async.data.importing import KNOWN_SETS, SUITES, read_labels
from pgpo_async.data.sources import PromptSource, held_out_source, open_source
from pgpo_async.evaluation.results import Labels

HELD_OUT = "held-out"
"""The suite that each config has: `evaluation.source`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """One row of the table: the first `num_prompts` prompts of a source, in its shuffled order."""

    name: str
    title: str
    where: str
    source: PromptSource
    num_prompts: int
    labels: Labels

    def prompts(self, failures: list[str]) -> Iterator[Prompt]:
        """Yield the prompts; the reason of each row that cannot be used goes to `failures`."""
        for index in range(self.num_prompts):
            try:
                yield self.source.prompt(index)
            except PromptError as error:
                failures.append(error.reason)


def find_benchmarks(
    config: RunConfig, suite: str, folder: Path, *, only: Sequence[str] = (), limit: int | None = None
) -> list[Benchmark]:
    """Return a suite's benchmarks: of `SUITES` with their files in `folder`, of a folder, or `HELD_OUT`.

    `only` names those that are wanted, `limit` bounds the prompts of each. Raises ConfigError with every file
    that is missing.
    """
    if suite == HELD_OUT:
        return [_held_out(config, limit)]
    if suite in SUITES:
        names: Sequence[str] = _chosen(SUITES[suite], only)
        paths = {name: folder / f"{name}.parquet" for name in names}
        if missing := [name for name, path in paths.items() if not path.is_file()]:
            raise ConfigError(
                [
                    f"--suite {suite}: {paths[name]} must be there: `pgpo-async data import {name} --output "
                    f"{paths[name]}`"
                    for name in missing
                ]
                + [f"or name those that are there with --only, or their folder with --data, got {folder}"]
            )
    elif Path(suite).is_dir():
        files = [path for path in sorted(Path(suite).iterdir()) if path.suffix.lower() in READERS]
        found = {path.stem: path for path in files}
        if len(found) < len(files):
            raise ConfigError(f"--suite {suite}: each benchmark must be one file, got several of one name")
        paths = {name: found[name] for name in _chosen(tuple(found), only)}
        if not paths:
            raise ConfigError(f"--suite {suite} must hold files ending in {sorted(READERS)}, got none")
    else:
        raise ConfigError(
            f"--suite: must be {HELD_OUT!r}, {' or '.join(map(repr, SUITES))}, or a folder of benchmarks, "
            f"got {suite!r}"
        )
    return [_of_file(name, path, config, limit) for name, path in paths.items()]


def _chosen(names: Sequence[str], only: Sequence[str]) -> Sequence[str]:
    if unknown := [name for name in only if name not in names]:
        raise ConfigError(f"--only: must be among {', '.join(names)}, got {', '.join(unknown)}")
    return [name for name in names if name in only] if only else names


def _held_out(config: RunConfig, limit: int | None) -> Benchmark:
    num_prompts = config.evaluation.num_prompts
    if not num_prompts:
        raise ConfigError("evaluation.num_prompts: must be above 0 to ask the held-out prompts, got 0")
    return Benchmark(
        name=HELD_OUT,
        title="held-out prompts",
        where=config.evaluation.source,
        source=held_out_source(config),
        num_prompts=min(num_prompts, limit or num_prompts),
        labels=Labels(),
    )


def _of_file(name: str, path: Path, config: RunConfig, limit: int | None) -> Benchmark:
    try:
        labels, columns = _labels(path), None
    except ConfigError:  # no imported one, but somebody's own
        labels, columns = Labels(), config.evaluation.columns or config.data.columns
    rules = dataclasses.replace(ImageRules.of(config.data, config.model), require_image=False)
    source = open_source(str(path), split="heldout", seed=config.data.seed, rules=rules, columns=columns)
    num_rows = source.num_rows
    assert num_rows is not None, "a file has an end"
    return Benchmark(
        name=name,
        title=KNOWN_SETS[name].title if name in KNOWN_SETS else name,
        where=str(path),
        source=source,
        num_prompts=min(num_rows, limit or num_rows),
        labels=labels,
    )


def _labels(path: Path) -> Labels:
    found = read_labels(path)
    return Labels(
        categories={prompt: labels.category for prompt, labels in found.items() if labels.category},
        groups={prompt: labels.group for prompt, labels in found.items() if labels.group},
    )
