"""Sampled groups of a run: which steps have them, and the best and worst of the first and of the last.

Owns the choice and the reading; a file that cannot be decoded is counted. Shown by `sample_cards`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgpo_async.contracts import ScoredGroup, decode

MAX_FILES = 64
"""Read of the first steps, and as many of the last."""
MAX_FILE_BYTES = 256 << 20
GROUPS_OF_AN_END = 4
"""Two best and two worst."""
_STEP = re.compile(r"step-(\d{1,15})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A group that was sampled at a step; `rank` is best or worst."""

    step: int
    group: ScoredGroup
    rank: str

    @property
    def reward(self) -> float:
        """Its mean reward."""
        return mean_reward(self.group)


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Groups of the first and of the last sampled steps, best first; `last` is empty where they are one."""

    first: Sequence[Sample] = ()
    last: Sequence[Sample] = ()
    num_steps: int = 0
    num_unreadable: int = 0


def mean_reward(scored: ScoredGroup) -> float:
    """Return the mean reward of a group's responses; 0 of none."""
    rollouts = scored.group.rollouts
    return sum(rollout.reward for rollout in rollouts) / max(1, len(rollouts))


def read_samples(folder: Path) -> Samples:
    """Read what `samples/` in a run's folder holds of its ends."""
    homes = sampled_steps(folder)
    if not homes:
        return Samples()
    reader = _Reader()
    last = reader.groups(list(reversed(homes)))
    first = reader.groups([(step, home) for step, home in homes if step not in reader.steps])
    return Samples(
        first=_ends(first),
        last=_ends(last),
        num_steps=len(homes),
        num_unreadable=reader.num_unreadable,
    )


def sampled_steps(folder: Path) -> list[tuple[int, Path]]:
    """Return the steps that have samples, in order, with their folders."""
    home = folder / "samples"
    try:
        found = [(_STEP.fullmatch(path.name), path) for path in home.iterdir()]
    except OSError:
        return []
    return sorted((int(match[1]), path) for match, path in found if match is not None and path.is_dir())


class _Reader:
    def __init__(self) -> None:
        self.num_unreadable = 0
        self.steps: set[int] = set()

    def groups(self, homes: Sequence[tuple[int, Path]]) -> list[tuple[int, ScoredGroup]]:
        """Return the groups of the nearest steps: of one, or of as many as give enough to choose from."""
        found: list[tuple[int, ScoredGroup]] = []
        num_files = 0
        for step, home in homes:
            self.steps.add(step)
            for path in sorted(home.glob("*.arrow"))[: MAX_FILES - num_files]:
                num_files += 1
                scored = self._group(path)
                if scored is not None:
                    found.append((step, scored))
            if len(found) >= GROUPS_OF_AN_END or num_files >= MAX_FILES:
                break
        return found

    def _group(self, path: Path) -> ScoredGroup | None:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError("too large")
            found = decode(path.read_bytes())
        except Exception:  # damaged, or of another version: Arrow and numpy raise what they like
            found = None
        if not isinstance(found, ScoredGroup):
            self.num_unreadable += 1
            return None
        return found


def _ends(found: Sequence[tuple[int, ScoredGroup]]) -> list[Sample]:
    ordered = sorted(found, key=lambda item: -mean_reward(item[1]))
    half = GROUPS_OF_AN_END // 2
    # Of few groups none is shown twice: the upper half are the best.
    num_best = min(half, (len(ordered) + 1) // 2)
    num_worst = min(half, len(ordered) - num_best)
    best = [Sample(step=step, group=group, rank="best") for step, group in ordered[:num_best]]
    worst = ordered[len(ordered) - num_worst :]
    return best + [Sample(step=step, group=group, rank="worst") for step, group in worst]
