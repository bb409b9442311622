"""Alerts of the pipeline: it stands still, or one stage wastes the others' work."""

from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.alerts.alert import RUNS, Alert, mean_step_s, training
from pgpo_async.metrics.promql import share


def _starved() -> str:
    """Share of the steps that ended in the last ten minutes; where none did, of those that ended before."""
    window = limits.STARVED_WINDOW
    waited = RUNS.increase(pipeline.LEARNER_WAIT, over=window)
    lasted = RUNS.increase(pipeline.STEP_TIME, of="sum", over=window)
    starved = f"last_over_time(({share(waited, lasted)})[{limits.WINDOW}:1m]) > {limits.STARVED_SHARE:g}"
    # Where the stages take turns, the learner waits for the others by design.
    return f"{starved}\nand {RUNS.now(pipeline.LAG_LIMIT)} > 0"


def _at_bound() -> str:
    return f"({RUNS.mean(pipeline.LAG)}) / ({RUNS.now(pipeline.LAG_LIMIT)} > 0) >= {limits.LAG_SHARE:g}"


def _too_old() -> str:
    stale = RUNS.increase(pipeline.PROMPTS, end="stale")
    # A run without generators to ask has no such series yet.
    cancelled = f"({RUNS.increase(pipeline.CANCELLED)} or 0 * {stale})"
    drawn = RUNS.increase(pipeline.PROMPTS, end="drawn")
    return f"({stale} + {cancelled}) / ({drawn} > 0) > {limits.TOO_OLD_SHARE:g}"


def _no_step() -> str:
    since_s = f"(time() - {RUNS.now(pipeline.STEP_ENDED)})"
    longest_s = f"clamp_min({limits.NO_STEP_TIMES} * {mean_step_s()}, {limits.NO_STEP_S:g})"
    return f"{since_s} > {longest_s}"


def _queue_full() -> str:
    held, limit = (RUNS.now(pipeline.QUEUE_BYTES, kind=kind) for kind in ("held", "limit"))
    return f"{held} / {limit} > {limits.QUEUE_FULL_SHARE:g}"


def _actors_down() -> str:
    working = RUNS.now(pipeline.ACTORS, "role", how="sum", doing="working|waiting")
    wanted = RUNS.now(pipeline.ACTORS_WANTED, "role")
    return f"({wanted} - {working} > 0)\nand on (run) {RUNS.now(pipeline.STEP)}"


ALERTS = (
    Alert(
        name="PgpoNoStep",
        expr=training(_no_step()),
        lasting="1m",
        severity="critical",
        summary="<run> has made no step for <duration>",
        description="The last optimizer step of <run> ended <duration> ago, more than "
        f"{limits.NO_STEP_S / 60:g} minutes and {limits.NO_STEP_TIMES} times its mean step.",
    ),
    Alert(
        name="PgpoNoFirstStep",
        expr=f"{RUNS.now(pipeline.STEPS_WANTED)} unless {RUNS.now(pipeline.STEP)}",
        lasting="2h",
        severity="warning",
        summary="<run> has made none of its <count> steps",
        description="<run>, which is to have <count> steps, was started or resumed more than 2 hours ago, "
        "and has made none since.",
    ),
    Alert(
        name="PgpoLearnerStarved",
        expr=training(_starved()),
        lasting="15m",
        severity="warning",
        summary="<run>: the learner waits for <percent> of its time",
        description="Of the last steps of <run> the learner spent <percent> waiting for a batch: generation "
        "or scoring is too slow for it.",
    ),
    Alert(
        name="PgpoLagAtBound",
        expr=training(_at_bound()),
        lasting="30m",
        severity="info",
        summary="<run>: mean lag is <percent> of train.max_lag",
        description="Nearly all groups that <run> trains on are as old as train.max_lag allows (<percent> "
        "of it): the learner is the slowest stage.",
    ),
    Alert(
        name="PgpoWorkTooOld",
        expr=training(_too_old()),
        lasting="15m",
        severity="warning",
        summary="<run> throws away <percent> of its groups as too old",
        description="In the last hour <percent> of the prompts that <run> drew ended stale, or were "
        "cancelled in flight, since they would have exceeded train.max_lag.",
    ),
    Alert(
        name="PgpoQueueFull",
        expr=training(_queue_full()),
        lasting="10m",
        severity="warning",
        summary="<run>: the replay queue holds <percent> of its bytes",
        description="The replay queue of <run> holds <percent> of queue.max_bytes: "
        "generators wait for room, whatever train.max_lag would let them do.",
    ),
    Alert(
        name="PgpoActorsDown",
        expr=_actors_down(),
        lasting="10m",
        severity="critical",
        summary="<run>: <count> too few of role <role>",
        description="For 10 minutes <count> fewer actors of role <role> than <run> should have are at work "
        "or waiting for it: the others start, or do not answer.",
    ),
    Alert(
        name="PgpoActorSilent",
        expr=f"{RUNS.now(health.SILENCE, 'role')} > {limits.SILENCE_S:g}",
        lasting="5m",
        severity="critical",
        summary="<run>: a <role> has been silent for <duration>",
        description="An actor of role <role> of <run> has not answered for <duration>, longer than "
        "whoever watches it should need to replace it.",
    ),
)
