"""Metrics of the pipeline: how far each stage is, what it waits for, how old what it works on is."""

from pgpo_async.metrics.metric import OPEN, counter, gauge, histogram

STAGES = ("generate", "score", "learn")
ROLES = ("generator", "scorer", "learner", "reward", "queue", "store")

RUN = gauge("pgpo_run_info", "", "1, with the program's version and the method.", version=OPEN, method=OPEN)
STEPS = counter("pgpo_steps_total", "", "Optimizer steps since the driver's start, repeated ones too.")
STEP = gauge("pgpo_step", "", "The last optimizer step.")
STEPS_WANTED = gauge("pgpo_wanted_steps", "steps", "Steps that the run is to have.")
STEP_TIME = histogram(
    "pgpo_step_seconds",
    "seconds",
    "From one optimizer step's end to the next one's.",
    (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0),
)
STEP_ENDED = gauge("pgpo_last_step_timestamp_seconds", "seconds", "When the last step ended; Unix time.")
LEARNER_WAIT = counter("pgpo_learner_wait_seconds_total", "seconds", "That the learner waited for a batch.")
BUSY = counter(
    "pgpo_stage_busy_seconds_total",
    "seconds",
    "That a stage had work, as a mean over its actors: its rate is the stage's busy share.",
    "`score` only where the method needs scorers",
    stage=STAGES,
)
EFFICIENCY = gauge(
    "pgpo_overlap_efficiency_ratio",
    "ratio",
    "Busy share of the busiest stage over the last half minute; 1 is the limit of any pipeline.",
)
PROMPTS = counter(
    "pgpo_prompts_total",
    "",
    "Prompts by where they ended; `drawn` is all of them.",
    end=("drawn", "trained", "filtered", "stale", "quarantined"),
)
PENDING = gauge("pgpo_pending_prompts", "prompts", "Prompts drawn that have not ended yet.")
GROUPS = gauge(
    "pgpo_queue_groups",
    "groups",
    "Groups in the replay queue by state.",
    state=("reserved", "generated", "scoring", "scored", "training"),
)
QUEUE_BYTES = gauge("pgpo_queue_bytes", "bytes", "Of the groups held.", kind=("held", "limit"))
SLOTS = gauge("pgpo_admission_slots", "", "Admission slots.", kind=("held", "limit"))
QUEUE_WAITS = gauge(
    "pgpo_queue_waits",
    "",
    "1 where a side of the queue waits for this, 0 where not.",
    side=("reserve", "scoring", "batch"),
    reason=("slot", "groups", "bytes", "source", "generation", "scores", "order", "other"),
)
ACTORS = gauge(
    "pgpo_actors",
    "",
    "Actors of a role by what they are at; `silent` ones do not answer.",
    "no scorers where the method needs none",
    role=ROLES,
    doing=("starting", "working", "waiting", "silent"),
)
ACTORS_WANTED = gauge(
    "pgpo_wanted_actors", "", "Actors that a role should have.", "as pgpo_actors", role=ROLES
)
LAG = histogram(
    "pgpo_lag_steps",
    "steps",
    "Lag of each trained group: the learner's version less the oldest that sampled any of its tokens.",
    (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0),
)
LAG_NEWEST = gauge("pgpo_largest_lag_steps", "steps", "Largest lag in the last step.")
LAG_LIMIT = gauge("pgpo_limit_lag_steps", "steps", "Largest lag allowed, train.max_lag.")
TOKENS = counter(
    "pgpo_tokens_total", "", "Response tokens, filtered ones included.", kind=("generated", "trained")
)
VERSION = gauge(
    "pgpo_weights_version",
    "",
    "Version of the weights: the learner's, the store's, the oldest that a generator or scorer serves.",
    "no scorer where the method needs none; no store and no receivers before the first version",
    at=("learner", "store", "generator", "scorer"),
)
UPDATES = counter(
    "pgpo_weight_updates_total", "", "Versions loaded.", "as pgpo_actors", role=("generator", "scorer")
)
PAUSE = histogram(
    "pgpo_update_pause_seconds",
    "seconds",
    "That a generator's engine stood still to take new weights.",
    (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
PUBLISHED = gauge("pgpo_published_ratio", "ratio", "Bytes of the last version sent by those of its files.")
PUBLISH_BLOCKED = gauge(
    "pgpo_publish_blocked_seconds", "seconds", "That the last publication held up the learner."
)
IN_FLIGHT = gauge(
    "pgpo_in_flight_prompts",
    "prompts",
    "Prompts in all engines, and how many may be.",
    kind=("held", "limit"),
)
CACHE = gauge(
    "pgpo_engine_cache_ratio", "ratio", "Most of an engine's key-value cache in use, of all engines."
)
ENGINE_WAITING = gauge("pgpo_engine_waiting_requests", "", "Requests that wait in the engines.")
PREEMPTIONS = counter("pgpo_engine_preemptions_total", "", "Requests that engines threw out of their cache.")
CANCELLED = counter("pgpo_cancelled_groups_total", "groups", "Groups stopped in flight, being too old.")
MIXED = counter("pgpo_mixed_rollouts_total", "", "Trained responses that several versions sampled.")
