"""The sampled groups of a run folder that a token page shows: those asked for, or the newest and the first.

Owns which files are read, and that a page stays small. A file that cannot be read is told of, not raised.
Called by `run`.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgpo_async.contracts import ConfigError, RolloutGroup, ScoredGroup, decode
from pgpo_async.report.run_data import check_run_folder
from pgpo_async.report.samples import sampled_steps

MAX_PAGE_BYTES = 4_000_000
"""Estimated; the first group is shown whatever its size."""
_BYTES_A_TOKEN = 80
_BYTES_AN_IMAGE = 60_000
_NUM_NEAREST = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """A group that step `step` trained on."""

    step: int
    scored: ScoredGroup


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """Groups in the order of their steps, and notes on what is left out."""

    groups: tuple[Sample, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    step: int
    path: Path

    @property
    def group_id(self) -> str:
        return self.path.stem


def read_samples(folder: Path, *, step: int | None = None, group: str | None = None) -> Samples:
    """Return the sampled groups of a step, or one group, or the most telling ones.

    Raises ConfigError if the folder is no run's or holds no samples, if there are none of that step or group
    (it lists the nearest), or if none can be read.
    """
    check_run_folder(folder)
    files = _files(folder)
    if not files:
        raise ConfigError(
            f"{folder}: must hold sampled groups in {folder / 'samples'}, got none: the run has trained no "
            "step yet, or metrics.samples_every is 0"
        )
    chosen = _chosen(files, step, group)
    samples: list[Sample] = []
    unreadable: list[str] = []
    room, num_left_out = MAX_PAGE_BYTES, 0
    for file in _by_interest(chosen):
        if room < 0:
            num_left_out += 1
            continue
        sample = _read(file, unreadable)
        if sample is None:
            continue
        room -= _page_bytes(sample)
        if room >= 0 or not samples:
            samples.append(sample)
        else:
            num_left_out += 1
    if not samples:
        raise ConfigError(f"{folder}: must hold a sampled group that can be read, got {unreadable[0]}")
    notes = [f"{len(unreadable)} of the samples could not be read: {text}" for text in unreadable[:1]]
    if num_left_out:
        steps = sorted({file.step for file in files})
        notes.append(
            f"{num_left_out} more sampled groups would make this page too large; --step N or --group ID "
            f"shows them, steps {_listed(steps)}"
        )
    in_order = sorted(samples, key=lambda sample: (sample.step, sample.scored.group.group_id))
    return Samples(groups=tuple(in_order), notes=tuple(notes))


def _files(folder: Path) -> list[_File]:
    found = [
        _File(step=step, path=path) for step, home in sampled_steps(folder) for path in home.glob("*.arrow")
    ]
    return sorted(found, key=lambda file: (file.step, file.group_id))


def _chosen(files: Sequence[_File], step: int | None, group: str | None) -> list[_File]:
    steps = sorted({file.step for file in files})
    if step is not None and step not in steps:
        near = sorted(sorted(steps, key=lambda other: abs(other - step))[:_NUM_NEAREST])
        raise ConfigError(
            f"--step must be a step that was sampled, got {step}: the nearest are {_listed(near)}"
        )
    of_step = [file for file in files if step is None or file.step == step]
    chosen = [file for file in of_step if group is None or file.group_id == group]
    if not chosen:
        ids = list(dict.fromkeys(file.group_id for file in of_step))
        near_ids = difflib.get_close_matches(str(group), ids, n=_NUM_NEAREST, cutoff=0.0)
        where = "" if step is None else f" of step {step}"
        raise ConfigError(
            f"--group must be a sampled group{where}, got {group!r}: the nearest are {', '.join(near_ids)}"
        )
    return chosen


def _by_interest(files: Sequence[_File]) -> Iterator[_File]:
    """The last step's first, then the first step's, for what changed; then the others from the newest on."""
    steps = sorted({file.step for file in files}, reverse=True)
    for step in dict.fromkeys([steps[0], steps[-1], *steps]):
        yield from (file for file in files if file.step == step)


def _read(file: _File, unreadable: list[str]) -> Sample | None:
    try:
        found = decode(file.path.read_bytes())
    except Exception as error:  # damaged bytes raise anything
        unreadable.append(f"{file.path.parent.name}/{file.path.name}: {' '.join(str(error).split())}")
        return None
    scored = ScoredGroup.unscored(found) if isinstance(found, RolloutGroup) else found
    return Sample(step=file.step, scored=scored)


def _page_bytes(sample: Sample) -> int:
    group = sample.scored.group
    tokens = sum(len(rollout.response_token_ids) for rollout in group.rollouts)
    images = sum(min(_BYTES_AN_IMAGE, 2 * len(image)) for image in group.prompt.images)
    return tokens * _BYTES_A_TOKEN + images


def _listed(steps: Sequence[int]) -> str:
    shown = [str(step) for step in steps]
    if len(shown) > 12:
        shown = [*shown[:5], "...", *shown[-5:]]
    return ", ".join(shown)
