"""Alerts of learning: the steps teach nothing, or the wrong thing."""

from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import learning_metrics as learning
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.alerts.alert import RUNS, Alert, more_than, training
from pgpo_async.metrics.collapse import ENTROPY_RISE, REWARD_FALL
from pgpo_async.metrics.collapse import WINDOW as COLLAPSE_STEPS
from pgpo_async.metrics.metric import Metric

SHORT, HALF_HOUR, HOUR = "15m", "30m", "1h"


def _all_filtered() -> str:
    """Nearly all groups of a step; or, where there are no more steps for it, all of half an hour."""
    most = f"{RUNS.now(learning.FILTERED)} >= {limits.FILTERED_SHARE:g}"
    of_use = f"max_over_time({RUNS.now(pipeline.GROUPS, how='sum', state='!reserved')}[{HALF_HOUR}:1m])"
    filtered = RUNS.increase(pipeline.PROMPTS, over=HALF_HOUR, end="filtered")
    # The share is 1 then.
    return f"{most}\nor\n(({of_use} == 0) + 1 and {more_than(limits.NUM_FILTERED, filtered)})"


def _entropy_fell() -> str:
    now = RUNS.lately("avg", learning.ENTROPY, over=SHORT)
    before = RUNS.lately("avg", learning.ENTROPY, over=SHORT, ago=HOUR)
    accuracy = RUNS.lately("avg", learning.ACCURACY, over=SHORT)
    fell = f"({now} < {limits.ENTROPY_FALL:g} * {before} or {now} < {limits.ENTROPY_FLOOR:g})"
    return f"{fell}\nunless {accuracy} >= {limits.SOLVED_ACCURACY:g}"


def _unlearns() -> str:
    """As `collapse` warns of, over hours: for whoever reads no events."""

    def mean(metric: Metric, ago: str = "", **labels: str) -> str:
        return RUNS.lately("avg", metric, over=HOUR, ago=ago, **labels)

    rose = f"{mean(learning.ENTROPY)} >= {1 + ENTROPY_RISE:g} * {mean(learning.ENTROPY, HOUR)}"
    before = mean(learning.REWARD, HOUR, part="reward")
    fell = f"{before} - {mean(learning.REWARD, part='reward')} >= {REWARD_FALL:g}"
    enough = more_than(2 * COLLAPSE_STEPS, RUNS.increase(pipeline.STEPS, over="2h"))
    return f"{fell}\nand {rose}\nand {enough}"


ALERTS = (
    Alert(
        name="PgpoAllFiltered",
        expr=training(_all_filtered()),
        lasting="15m",
        severity="warning",
        summary="<run>: <percent> of the groups have no signal",
        description="Of the groups that <run> generates <percent> are filtered: all responses to a "
        "prompt are right, or all are wrong.",
    ),
    Alert(
        name="PgpoEntropyCollapse",
        expr=training(_entropy_fell()),
        lasting="15m",
        severity="warning",
        summary="<run>: entropy is down to <number> nats",
        description="The policy of <run> has <number> nats of entropy left, less than "
        f"{limits.ENTROPY_FALL:.0%} of an hour ago or than {limits.ENTROPY_FLOOR:g}, and answers less than "
        f"{limits.SOLVED_ACCURACY:.0%} right: it explores no more.",
    ),
    Alert(
        name="PgpoUnlearning",
        expr=training(_unlearns()),
        lasting="15m",
        severity="warning",
        summary="<run>: reward fell by <number> while entropy rose",
        description="Against the hour before, the mean reward of <run> is <number> lower, and its entropy "
        f"at least {ENTROPY_RISE:.0%} higher: the policy may be falling apart.",
    ),
    Alert(
        name="PgpoMismatch",
        expr=training(f"{RUNS.now(learning.FRESH_MISMATCH_KL)} > {limits.MISMATCH_KL:g}"),
        lasting="5m",
        severity="critical",
        summary="<run>: generators and scorers disagree by <number> nats",
        description="On the same weights the generators and the scorers of <run> disagree by a KL of "
        f"<number> nats, more than {limits.MISMATCH_KL:g}.",
    ),
    Alert(
        name="PgpoWeightsCapped",
        expr=training(f"{RUNS.now(learning.IMPORTANCE_CAPPED)} > {limits.CAPPED_SHARE:g}"),
        lasting="5m",
        severity="warning",
        summary="<run>: <percent> of the importance weights are cut off",
        description="<percent> of the tokens' importance weights in the last step of <run> are cut "
        "off: its policy has moved too far from the one that sampled them.",
    ),
    Alert(
        name="PgpoStepsSkipped",
        expr=training(more_than(1, RUNS.increase(health.SKIPPED))),
        lasting="0m",
        severity="warning",
        summary="<run> skipped <count> steps in an hour",
        description="<count> steps of <run> in the last hour updated nothing, since loss or "
        "gradient were not finite.",
    ),
)
