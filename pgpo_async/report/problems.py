"""What is wrong with a run, or was: found from its books, its steps and its events, worst first.

Owns what counts as a problem and its words. Called by `page_head`, which shows them before anything else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pgpo_async.report.formats import number, plural, seconds, share
from pgpo_async.report.headline import books_of, lag_seen, restarts_of, skipped_steps_of
from pgpo_async.report.run_data import NO_SUMMARY, UNDER_WAY, RunData
from pgpo_async.report.run_events import Kind
from pgpo_async.report.run_files import as_mapping, as_number

MUCH_STALE = 0.05
MUCH_TRUNCATED = 0.3
LATE_STEPS = 5.0
"""A run under way is late when its next step takes so many times the usual."""
LATE_S = 60.0
MAX_LISTED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong; `grave` where the run's numbers, or its processes, cannot be trusted."""

    text: str
    grave: bool = False


def problems_of(run: RunData) -> list[Problem]:
    """Return what is wrong, the grave first."""
    found = [problem for check in _CHECKS for problem in check(run)]
    return sorted(found, key=lambda problem: not problem.grave)


def _status(run: RunData) -> Iterator[Problem]:
    if run.status == "failed":
        yield Problem(text=f"The run failed after {_steps(run)}{_reason(run)}.", grave=True)
    elif run.status == "interrupted":
        yield Problem(text=f"The run was interrupted after {_steps(run)}.")
    elif run.status == NO_SUMMARY:
        told = "its process was killed, or it could not write"
        yield Problem(text=f"The run ended without a summary after {_steps(run)}: {told}.", grave=True)
    elif run.status == UNDER_WAY:
        last_s = run.steps.largest("time_s")
        usual_s = float(np.nanmedian(run.steps.column("step_s"))) if run.steps.has("step_s") else 0.0
        if last_s is not None and run.read_s - last_s > max(LATE_S, LATE_STEPS * usual_s):
            since = seconds(run.read_s - last_s)
            told = f"its last step ended {since} ago; usual are {seconds(usual_s)}"
            yield Problem(text=f"The run is under way, but {told}.", grave=True)
        stuck = run.standing.get("stuck")
        for actor in map(as_mapping, (stuck if isinstance(stuck, list) else [])[:MAX_LISTED]):
            since = seconds(as_number(actor.get("silent_for_s")))
            told = f"{actor.get('name')} gave no sign of life for {since}; it was at: {actor.get('doing')}"
            yield Problem(text=f"Stuck: {told}.", grave=True)


def _books(run: RunData) -> Iterator[Problem]:
    books = books_of(run)
    if books.balanced is False:
        yield Problem(
            text=f"The books do not balance: {books.counts.get('drawn', 0):,} prompts were drawn, "
            f"{books.accounted:,} are accounted for.",
            grave=True,
        )
    drawn = books.counts.get("drawn", 0)
    stale, quarantined = books.counts.get("stale", 0), books.counts.get("quarantined", 0)
    if drawn and stale > MUCH_STALE * drawn:
        of = share(stale / drawn)
        yield Problem(text=f"{plural(stale, 'prompt')} ({of}) were generated in vain: too old to train.")
    if quarantined:
        of = f" ({share(quarantined / drawn)} of those drawn)" if drawn else ""
        yield Problem(text=f"{plural(quarantined, 'prompt')} could not be used{of}: see Accounting.")


def _left_behind(run: RunData) -> Iterator[Problem]:
    left = run.summary.get("left_behind")
    for thing in (left if isinstance(left, list) else [])[:MAX_LISTED]:
        yield Problem(text=f"Left behind on the machine: {thing}", grave=True)


def _lag(run: RunData) -> Iterator[Problem]:
    bound, seen = run.max_lag, lag_seen(run)
    if bound is not None and seen is not None and seen > bound:
        yield Problem(text=f"A group was trained at lag {seen}, above the bound of {bound}.", grave=True)


def _numbers(run: RunData) -> Iterator[Problem]:
    skipped = skipped_steps_of(run)
    if skipped:
        yield Problem(
            text=f"{plural(skipped, 'step')} updated nothing: loss or gradient were not finite.", grave=True
        )
    loss = run.steps.column("learner/loss")
    unknown = run.steps.steps[~np.isfinite(loss)] if run.steps.has("learner/loss") else ()
    if len(unknown) > skipped:
        more = [" …"] if len(unknown) > MAX_LISTED else []
        at = ", ".join([*(f"{step:,}" for step in unknown[:MAX_LISTED]), *more])
        yield Problem(text=f"No loss is known of {plural(len(unknown), 'step')}: {at}.")
    if run.undone:
        times = plural(len(run.undone), "step")
        yield Problem(text=f"{times} were undone and done again, from a checkpoint.")
    truncated = run.steps.column("learner/truncated_share")[-10:]
    if np.isfinite(truncated).any() and float(np.nanmean(truncated)) > MUCH_TRUNCATED:
        mean = share(float(np.nanmean(truncated)))
        yield Problem(text=f"{mean} of the last steps' responses were cut at their limit.")
    before, after = (as_number(run.summary.get(f"accuracy_{when}")) for when in ("before", "after"))
    if before is not None and after is not None and after < before:
        yield Problem(text=f"Held-out accuracy fell, from {share(before)} to {share(after)}.")


def _mismatch(run: RunData) -> Iterator[Problem]:
    checks = (
        ("learner/fresh_mismatch_kl", "max_mismatch_kl", "the KL between generators and trainer", number),
        ("learner/is_capped_share", "max_capped_share", "the share of importance weights cut off", share),
    )
    for key, name, what, written in checks:
        limit, values = as_number(run.setting(f"train.guard.{name}")), run.steps.column(key)
        if limit is None:
            continue
        above = run.steps.steps[np.nan_to_num(values) > limit]
        if len(above):
            where = f"In {plural(len(above), 'step')} (first {above[0]:,})"
            much = f"up to {written(float(np.nanmax(values)))}, allowed {written(limit)}"
            yield Problem(text=f"{where} {what} was above train.guard.{name}: {much}.", grave=True)


def _deaths(run: RunData) -> Iterator[Problem]:
    kinds = [event.kind for event in run.events]
    deaths, restarts = kinds.count(Kind.DEATH), restarts_of(run)
    if deaths or restarts:
        told = f"{plural(deaths, 'event')} of deaths or failures" if deaths else "Actors died"
        again = f", {plural(restarts, 'actor')} started again" if restarts else ""
        yield Problem(text=f"{told}{again}: see Events.")
    if run.num_resumes:
        yield Problem(text=f"The run was resumed {plural(run.num_resumes, 'time')}.")
    warnings = kinds.count(Kind.WARNING)
    if warnings:
        yield Problem(text=f"{plural(warnings, 'warning')}: see Events.")


def _missing(run: RunData) -> Iterator[Problem]:
    for line in run.missing:
        yield Problem(text=f"Missing from this report: {line}.")


def _reason(run: RunData) -> str:
    """The summary's word for it, else the last event that may have to do with it."""
    told = run.summary.get("error")
    if isinstance(told, str) and told:
        return f": {told}"
    marked = [event.text for event in run.events if event.kind in (Kind.DEATH, Kind.WARNING, Kind.ROLLBACK)]
    return f"; the last event of note: {marked[-1]}" if marked else ""


def _steps(run: RunData) -> str:
    of = as_number(run.setting("train.num_steps"))
    done = plural(len(run.steps.steps), "step")
    return done if of is None else f"{done} of {of:,.0f}"


_CHECKS: tuple[Callable[[RunData], Iterator[Problem]], ...] = (
    _status, _books, _left_behind, _lag, _numbers, _mismatch, _deaths, _missing,
)  # fmt: skip
