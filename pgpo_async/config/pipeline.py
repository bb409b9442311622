"""Config sections of the stages that feed the learner: generator, scorer, reward, queue, weights, Ray."""

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pgpo_async.config.base import Section


class RoleConfig(Section):
    """How many replicas of a role, and what each asks of Ray."""

    replicas: PositiveInt = 1
    """Number of actors."""
    cpus: NonNegativeFloat = 1.0
    """CPUs each asks Ray for; may be a fraction."""
    gpus: NonNegativeFloat = 0.0
    """GPUs each asks Ray for; may be a fraction (a scorer shares a device), or a whole number."""
    resources: dict[str, PositiveFloat] = Field(default_factory=dict)
    """What else each asks Ray for, by the names that a cluster's nodes give it ({generator_node: 1})."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels that a node must have for this role: Ray's node labels, and its selectors ('in(a, b)', '!c')."""


class LoopRoleConfig(RoleConfig):
    """A role whose actors work on their own, and are replaced singly when they die."""

    max_restarts: NonNegativeInt = 3
    """How often one replica may be replaced within supervision.restart_window_s."""
    min_replicas: PositiveInt = 1
    """With fewer that can still be replaced the run ends with what the last one died of."""


class SupervisionConfig(Section):
    """When an actor is taken for dead, and how often it is replaced."""

    silence_s: PositiveFloat = 60.0
    """An actor that gives no sign of life for so long is killed and replaced."""
    stall_s: PositiveFloat = 1800.0
    """So is one that lives, has work, and finishes none for so long."""
    check_every_s: PositiveFloat = 2.0
    """Seconds between two looks at all actors."""
    restart_window_s: PositiveFloat = 3600.0
    """`max_restarts` counts the restarts within so many seconds."""
    backoff_s: NonNegativeFloat = 1.0
    """Pause before a second restart; it doubles with each further one. The first is at once."""
    max_backoff_s: NonNegativeFloat = 60.0
    """Longest pause."""
    control_restarts: NonNegativeInt = 20
    """How often the queue's and the weight store's processes may be replaced in all."""


class GeneratorConfig(LoopRoleConfig):
    """vLLM engines."""

    prompts_in_flight: PositiveInt = 32
    """Prompts one engine works on at a time; a new one enters as soon as one ends."""
    max_prompts_in_flight: PositiveInt | None = None
    """Most it may come to while the engine's cache has room; admission's slots where not given. Equal to
    prompts_in_flight: it grows no more, but still shrinks while the engine preempts."""
    start_timeout_s: PositiveFloat = 600.0
    """Longest an engine may take to load."""
    engine: dict[str, Any] = Field(default_factory=dict)
    """Passed to vLLM's engine arguments as they are (max_num_seqs, gpu_memory_utilization, ...)."""
    num_threads: PositiveInt | None = None
    """OpenMP threads of a CPU engine; vLLM's own choice where not given."""


class ScorerConfig(LoopRoleConfig):
    """Sighted and blind passes."""

    groups_per_lease: PositiveInt = 8
    """Most groups scored in one call."""
    linger_s: NonNegativeFloat = 0.05
    """Longest a free scorer waits for so many, where there are fewer; a fuller pass costs less a group."""
    pass_tokens: PositiveInt = 16384
    """Token budget of one forward pass."""
    num_threads: PositiveInt | None = None
    """CPU threads of one scorer; torch's own choice where not given."""


class RewardConfig(RoleConfig):
    """CPU actors that verify answers."""

    timeout_s: PositiveFloat = 30.0
    """Deadline for all responses of one group; a late group is quarantined, the process is killed."""
    accuracy_weight: NonNegativeFloat = 0.9
    """Weight of the answer being right."""
    format_weight: NonNegativeFloat = 0.1
    """Weight of the response having the asked form."""
    overlong_buffer_tokens: NonNegativeInt = 0
    """Last tokens before max_response_tokens over which a penalty grows (DAPO); 0 for none."""
    overlong_penalty: PositiveFloat = 1.0
    """What a response of max_response_tokens loses; the reward's part `overlong` is its share, in [-1, 0]."""
    tolerance: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the reference's size by which a number may differ from it and be right; 0: exact."""
    function: str | None = None
    """`module:function` or `path/to/file.py:function`, sync or async, instead of what is built in."""
    max_memory_bytes: int | None = Field(default=None, ge=512 << 20)
    """Address space of the process that scores; what asks for more gets a MemoryError. Null: no bound."""


class JournalConfig(Section):
    """What the replay queue writes into the run folder, so that its process may die."""

    enabled: bool = True
    """Off: a queue that dies ends the run, and a resumed run generates again what was in the queue."""
    sync_s: NonNegativeFloat = 1.0
    """Longest time between flushes to disk; 0 flushes each record. A killed process loses nothing either way,
    a machine without power what it wrote since."""
    max_bytes: PositiveInt = 4 << 30
    """Beyond it the groups trained since the last checkpoint go: should the run go back there, they are
    generated again."""


class QueueConfig(Section):
    """Bounds of the replay queue. Admission (train.max_lag) is the first bound, these are the second."""

    max_groups: PositiveInt | None = None
    """Most groups held; (max_lag + 1) * groups_per_step where not given."""
    max_bytes: PositiveInt = 8 << 30
    """Most bytes held; generators wait above it."""
    lease_timeout_s: PositiveFloat = 600.0
    """A lease not acknowledged by then returns to the queue."""
    journal: JournalConfig = JournalConfig()
    """What outlives the queue's process."""


class WeightsConfig(Section):
    """Publication of weights."""

    bucket_bytes: PositiveInt = 512 << 20
    """Bytes of one staged file; a larger tensor gets a file of its own."""
    full_every: PositiveInt = 20
    """Every so many versions one is published whole, the others as what changed (to the bit); 1 for all."""
    keep_versions: int = Field(default=2, ge=2)
    """Staged versions kept on a node: the newest, and what receivers may still be reading."""
    update_share: float = Field(default=0.25, gt=0.0, le=1.0)
    """Share of the generators that load a version at once, at least one; scorers likewise. 1: all at once."""
    turn_s: PositiveFloat = 30.0
    """Longest that a receiver which loads keeps the next one waiting."""
    load_timeout_s: PositiveFloat = 300.0
    """Longest a receiver may take to load a version; then it is replaced."""


class RayConfig(Section):
    """The Ray cluster to start or to join."""

    address: str | None = None
    """None starts Ray on this machine; `auto` or an address joins a running cluster."""
    nodes_timeout_s: PositiveFloat = 600.0
    """Longest wait for a cluster's nodes; an autoscaler is asked for them."""
    num_cpus: PositiveInt | None = None
    """CPUs that a started Ray offers; the roles' sum, at least this machine's, where not given."""
    object_store_bytes: PositiveInt | None = None
    """Object store of a started Ray; Ray's own choice where not given."""
    listen: Literal["loopback", "all"] = "loopback"
    """Whence a Ray started here can be reached: this machine only, or (`all`) the network as well."""
