"""A run in a dozen figures: from its summary, or, while there is none, from its steps.

Owns where each figure comes from, and the tiles. Called by `page_head`, `problems` and `tables`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgpo_async.report.formats import NOT_KNOWN, count, number, seconds, share
from pgpo_async.report.run_data import UNDER_WAY, RunData
from pgpo_async.report.run_files import as_count, as_mapping, as_number
from pgpo_async.report.stage_times import pieces_of

ENDS = ("trained", "filtered", "stale", "quarantined", "pending")
"""Where a drawn prompt can be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Books:
    """Counts of prompts by their end, and `drawn`; `balanced` is None where the run told no books."""

    counts: Mapping[str, int] = field(default_factory=dict)
    balanced: bool | None = None

    @property
    def accounted(self) -> int:
        """The sum that must be the number drawn."""
        return sum(self.counts.get(end, 0) for end in ENDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A figure with its name, what is to be said of it, and whether it is a bad sign."""

    label: str
    value: str
    detail: str = ""
    bad: bool = False


def books_of(run: RunData) -> Books:
    """Return the books that the run told, else what steps and quarantine tell of them."""
    told = as_mapping(run.told.get("accounting"))
    counts = {name: value for name, raw in told.items() if (value := as_count(raw)) is not None}
    if "drawn" in counts:
        books = Books(counts=counts)
        balanced = books.accounted == counts["drawn"] and run.told.get("accounting_balanced") is not False
        return Books(counts=counts, balanced=balanced)
    known = {"trained": run.steps.num_groups, "quarantined": sum(kind.count for kind in run.quarantined)}
    return Books(counts={name: value for name, value in known.items() if value})


def lag_seen(run: RunData) -> int | None:
    """Return the largest lag that a group was trained at."""
    told = as_count(run.summary.get("max_lag_seen"))
    largest = run.steps.largest("lag_max")
    known = [int(value) for value in (told, largest) if value is not None]
    return max(known) if known and len(run.steps.steps) else told


def skipped_steps_of(run: RunData) -> int:
    """Return how many steps updated nothing."""
    counted = int((run.steps.column("learner/skipped_step") > 0).sum())
    return max(counted, as_count(run.summary.get("skipped_steps")) or 0)


def restarts_of(run: RunData) -> int | None:
    """Return how many actors were started again; None where nobody told."""
    return as_count(run.told.get("restarts"))


def wall_s_of(run: RunData) -> float | None:
    """Return the seconds from the first to the last that is known; all starts of a resumed run included."""
    told = as_number(run.summary.get("wall_s"))
    if told is not None and not run.num_resumes:
        return told
    began_s, ended_s = run.began_s, run.ended_s
    return told if began_s is None or ended_s is None else ended_s - began_s


def accuracy_change(run: RunData) -> str:
    """Return held-out accuracy before and after."""
    before, after = (as_number(run.summary.get(f"accuracy_{when}")) for when in ("before", "after"))
    return NOT_KNOWN if before is None and after is None else f"{share(before)} → {share(after)}"


def tiles_of(run: RunData) -> list[Tile]:
    """Return the figures that are looked at first."""
    steps, planned = len(run.steps.steps), as_count(run.setting("train.num_steps"))
    wait = _wait_share(run)
    bound, seen = run.max_lag, lag_seen(run)
    skipped, restarts = skipped_steps_of(run), restarts_of(run)
    train_s = as_number(run.summary.get("train_s"))
    return [
        Tile(
            label="held-out accuracy",
            value=accuracy_change(run),
            detail="told at the end" if run.status == UNDER_WAY else "before → after",
        ),
        Tile(label="steps", value=count(steps), detail=f"of {planned:,}" if planned else ""),
        Tile(
            label="wall time",
            value=seconds(wall_s_of(run)),
            detail=f"training {seconds(train_s)}" if train_s is not None else "",
        ),
        Tile(
            label="overlap efficiency",
            value=number(_overlap(run)),
            detail="1 is the limit",
        ),
        Tile(label="learner waits", value=share(wait), detail="of training"),
        Tile(
            label="largest lag",
            value=count(seen),
            detail=f"of {bound} allowed" if bound is not None else "",
            bad=seen is not None and bound is not None and seen > bound,
        ),
        *_prompt_tiles(run),
        Tile(label="restarts", value=count(restarts), detail="of actors", bad=bool(restarts)),
        Tile(label="skipped steps", value=count(skipped), detail="not finite", bad=skipped > 0),
    ]


def _prompt_tiles(run: RunData) -> list[Tile]:
    books = books_of(run)
    drawn = books.counts.get("drawn", 0)
    tiles = []
    for name in ("trained", "filtered", "stale", "quarantined"):
        value = books.counts.get(name)
        detail = f"{share(value / drawn)} of {drawn:,}" if drawn and value is not None else ""
        bad = name == "quarantined" and bool(value)
        tiles.append(Tile(label=f"prompts {name}", value=count(value), detail=detail, bad=bad))
    return tiles


def _wait_share(run: RunData) -> float | None:
    told = as_number(run.summary.get("learner_wait_fraction"))
    waited_s, whole_s = run.steps.total("learner_wait_s"), run.steps.total("step_s")
    return told if told is not None else waited_s / whole_s if waited_s is not None and whole_s else None


def _overlap(run: RunData) -> float | None:
    told = as_number(run.summary.get("overlap_efficiency"))
    if told is not None:
        return told
    pieces = pieces_of(run)
    busy = [row.mean for row in pieces.busy if row.key != "wait" and row.mean is not None] if pieces else []
    # Without the generators' share the slowest stage is not known.
    return max(busy) if run.steps.has("pipeline/busy_generate") and busy else None
