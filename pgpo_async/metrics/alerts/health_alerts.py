"""Alerts of health: what dies again and again, is refused, is not kept, or is not seen."""

from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.alerts.alert import RUNS, Alert, alive, mean_step_s, more_than
from pgpo_async.metrics.promql import share


def _quarantined() -> str:
    quarantined = RUNS.increase(pipeline.PROMPTS, end="quarantined")
    of_drawn = share(quarantined, RUNS.increase(pipeline.PROMPTS, end="drawn"))
    enough = more_than(limits.NUM_QUARANTINED, quarantined)
    return f"{of_drawn} > {limits.QUARANTINED_SHARE:g}\nand {enough}"


def _at_risk() -> str:
    since = f"({RUNS.now(pipeline.STEP)} - {RUNS.now(health.CHECKPOINT)})"
    return f"{since} * {mean_step_s()} > {limits.AT_RISK_S:g}"


def _vanished() -> str:
    """Seconds of steps that were to come, of a run that answered within the hour and does not now."""
    hour = limits.WINDOW
    wanted, done = (RUNS.lately("last", of, over=hour) for of in (pipeline.STEPS_WANTED, pipeline.STEP))
    to_come_s = f"({wanted} - {done}) * {mean_step_s(within=hour)}"
    return f"{to_come_s} > {limits.VANISHED_S:g}\nunless {RUNS.now(pipeline.RUN)}"


ALERTS = (
    Alert(
        name="PgpoRestarts",
        expr=alive(more_than(limits.RESTARTS, RUNS.increase(health.RESTARTS, "role"))),
        lasting="0m",
        severity="warning",
        summary="<run>: <count> restarts of role <role> in an hour",
        description="<count> processes of role <role> of <run> died or were killed, and were "
        "replaced, in the last hour.",
    ),
    Alert(
        name="PgpoQuarantine",
        expr=alive(_quarantined()),
        lasting="5m",
        severity="warning",
        summary="<run> cannot use <percent> of its prompts",
        description="In the last hour <percent> of the prompts that <run> drew were quarantined: an image, a "
        "reward or a response that cannot be used.",
    ),
    Alert(
        name="PgpoWritesFail",
        expr=alive(more_than(1, RUNS.increase(health.WRITE_FAILURES))),
        lasting="0m",
        severity="warning",
        summary="<run>: <count> writes into its folder failed in an hour",
        description="<count> writes into the folder of <run> failed in the last hour: "
        "metrics, events, quarantine or samples have gaps. Checkpoints may be next.",
    ),
    Alert(
        name="PgpoCheckpointOld",
        expr=_at_risk(),
        lasting="5m",
        severity="info",
        summary="<run> would lose <duration> of training",
        description="The steps of <run> since its last checkpoint took <duration>: that is what it "
        "would do again if its learner died.",
    ),
    Alert(
        name="PgpoUnseen",
        expr=f"time() - {RUNS.now(health.OBSERVED)} > {limits.UNSEEN_S:g}",
        lasting="2m",
        severity="warning",
        summary="<run>: the driver has looked at nobody for <duration>",
        description="The driver of <run> answers, but looked at its actors last <duration> ago: what its "
        "metrics say of them is as old.",
    ),
    Alert(
        name="PgpoVanished",
        expr=_vanished(),
        lasting="5m",
        severity="warning",
        summary="<run> does not answer any more, <duration> before its end",
        description="The exporter of <run> answered within the last hour and does not now, with about "
        "<duration> of steps to come: it was killed, failed, was interrupted, or cannot be reached.",
    ),
)
