"""Metrics of health: what died, hung, was lost, refused, or had to be done again."""

from pgpo_async.metrics.metric import OPEN, counter, gauge
from pgpo_async.metrics.pipeline_metrics import ROLES

RESTARTS = counter(
    "pgpo_restarts_total",
    "",
    "Processes that died or were killed, and were replaced. `control`: the queue's and the store's.",
    role=("generator", "scorer", "learner", "control"),
)
SILENCE = gauge(
    "pgpo_silence_seconds",
    "seconds",
    "Since an actor of this role last answered, the longest.",
    "as pgpo_actors",
    role=ROLES,
)
QUARANTINED = counter(
    "pgpo_quarantined_total", "", "Prompts that could not be used.", "there were any", reason=OPEN
)
TIMEOUTS = counter(
    "pgpo_timeouts_total",
    "",
    "Waits that ended without what they waited for: the learner's for a batch (it asks again), a reward's, "
    "an actor's answer.",
    what=("batch", "reward", "answer"),
)
LEASES_LOST = counter("pgpo_lost_leases_total", "", "Leases of holders that died or were late.")
SKIPPED = counter("pgpo_skipped_steps_total", "steps", "Steps that updated nothing: not finite.")
ROLLED_BACK = counter("pgpo_rolled_back_steps_total", "steps", "Steps undone by going back to a checkpoint.")
CHECKPOINT = gauge("pgpo_checkpoint_step", "", "Step of the last checkpoint.", "one was saved")
WARNINGS = counter("pgpo_warnings_total", "", "Warnings in events.jsonl.")
WRITE_FAILURES = counter("pgpo_write_failures_total", "", "Writes into the run folder that failed.")
OBSERVED = gauge(
    "pgpo_observed_timestamp_seconds", "seconds", "When all actors were last looked at; Unix time."
)
