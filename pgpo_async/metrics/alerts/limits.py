"""Where an alert begins. The dashboards draw their thresholds from here; those of the program are its own.

Shares are of 1, times in seconds; windows are PromQL's durations.
"""

from pgpo_async.config.pipeline import SupervisionConfig
from pgpo_async.config.training import GuardConfig, TrainConfig

WINDOW = "1h"
"""What shares and counts are taken over: a few of even the longest steps."""

# Pipeline
STARVED_SHARE = 0.5
"""Of a step, that the learner waits for its batch."""
STARVED_WINDOW = "10m"
LAG_SHARE = 0.9
"""Mean lag by train.max_lag."""
TOO_OLD_SHARE = 0.1
"""Groups thrown away as too old, of the prompts drawn."""
NO_STEP_S = 900.0
"""Without a step, where steps are short ..."""
NO_STEP_TIMES = 5
"""... and by the mean step, where they are long."""
QUEUE_FULL_SHARE = 0.95
"""Bytes held of queue.max_bytes."""

# Health
SILENCE_S = SupervisionConfig().silence_s
"""The supervisor replaces whom it can after so long."""
RESTARTS = 3
"""Of one role, in an hour."""
QUARANTINED_SHARE = 0.1
"""Of the prompts drawn; the run ends itself at train.max_quarantined_share."""
NUM_QUARANTINED = TrainConfig().min_quarantined
"""But not of fewer."""
AT_RISK_S = 6 * 3600.0
"""Of training since the last checkpoint."""
UNSEEN_S = 120.0
"""Since the driver last looked at its actors."""
VANISHED_S = 120.0
"""Of steps that were still to come: a run as near to its end may have ended between two scrapes."""

# Learning
FILTERED_SHARE = 0.95
"""Of the groups that ended."""
NUM_FILTERED = TrainConfig().groups_per_step
"""But not of fewer."""
MISMATCH_KL = GuardConfig().max_mismatch_kl
CAPPED_SHARE = GuardConfig().max_capped_share
"""Both are the guard's own, which acts after train.guard.patience steps."""
ENTROPY_FALL = 0.25
"""Entropy by that of an hour ago."""
ENTROPY_FLOOR = 0.01
"""In nats: there is nothing left to choose from."""
SOLVED_ACCURACY = 0.9
"""From here on a policy may be sure of itself."""

# Resources
DISK_SHARE = 0.9
DISK_GROWING_SHARE = 0.7
"""From here on a disk that will be full within `DISK_AHEAD_S`, as it has grown lately, counts, too."""
DISK_AHEAD_S = 6 * 3600
DISK_WINDOW = "6h"
OBJECT_STORE_SHARE = 0.8
"""Beyond it Ray writes objects to disk."""
SHARED_MEMORY_SHARE = 0.9
OPEN_FILES_SHARE = 0.8
