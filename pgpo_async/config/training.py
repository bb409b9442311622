"""Config sections of learning: algorithm, learner, the run itself."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pgpo_async.config.base import Section
from pgpo_async.config.pipeline import RoleConfig
from pgpo_async.config.shapers import ShaperConfig


class FilterConfig(Section):
    """Dynamic sampling (DAPO): a group trains only if the mean of `key` lies strictly between the bounds."""

    enabled: bool = True
    """Off: every group trains."""
    key: str = "accuracy"
    """A part of the reward, or `reward` for the whole."""
    low: float = 0.01
    """Exclusive lower bound."""
    high: float = 0.99
    """Exclusive upper bound."""
    patience: PositiveInt = 50
    """Batches' worth of groups filtered without one training step before the run ends and says so."""


class DependencyConfig(Section):
    """How visual dependency S_t is measured (ALGORITHMS section 1)."""

    estimator: Literal["k3", "exact"] = "k3"
    """From the sampled token alone, or the divergence over the whole vocabulary: no noise, some more time."""
    measure: Literal["needed", "always"] = "needed"
    """`always`: also for a shaper that does not read it, for the metrics; costs a scorer's two passes."""


SHAPERS_WITHOUT_SCORER = frozenset({"none", "papo"})
"""They need no pass of a scorer's."""


class AlgorithmConfig(Section):
    """PGPO on DAPO (ALGORITHMS sections 2 to 4)."""

    shaper: ShaperConfig = ShaperConfig()
    """Token weights."""
    dependency: DependencyConfig = DependencyConfig()
    """Visual dependency."""
    filter: FilterConfig = FilterConfig()
    """Groups without signal."""
    advantage: Literal["std", "none", "loo"] = "std"
    """GRPO, Dr. GRPO, RLOO."""
    clip_low: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Ratio is clipped below 1 - clip_low."""
    clip_high: PositiveFloat = 0.28
    """Ratio is clipped above 1 + clip_high."""
    dual_clip: float | None = Field(default=3.0, gt=1.0)
    """Bound for negative advantages; null turns it off."""
    proximal: Literal["auto", "scored", "interpolated"] = "auto"
    """Where the ratio's old log-probs come from: a scorer's pass, or interpolated without one (`auto`)."""
    is_mode: Literal["truncate", "icepop", "off"] = "truncate"
    """Importance weight between behaviour and proximal policy."""
    is_cap: PositiveFloat = 2.0
    """Cap of `truncate`."""
    icepop_low: PositiveFloat = 0.5
    """`icepop` drops weights below."""
    icepop_high: PositiveFloat = 5.0
    """`icepop` drops weights above."""
    loss: Literal["token_mean", "sequence_mean"] = "token_mean"
    """What the loss is a mean over, across the whole optimizer step."""
    kl_coef: NonNegativeFloat = 0.0
    """Of the KL to the model that the run started from; above 0 each scorer holds that one, too."""
    mask_truncated: bool = False
    """Whether responses cut at max_response_tokens teach nothing: no loss, and not in its divisor (DAPO)."""

    @property
    def scorer_reasons(self) -> dict[str, str]:
        """The fields, by their names in this section, that ask for a scorer's passes, and what they say."""
        reasons = {}
        if self.shaper.name not in SHAPERS_WITHOUT_SCORER:
            reasons["shaper.name"] = repr(self.shaper.name)
        if self.kl_coef > 0:
            reasons["kl_coef"] = f"{self.kl_coef:g}"
        if self.dependency.measure == "always":
            reasons["dependency.measure"] = "'always'"
        return reasons


class OptimizerConfig(Section):
    """AdamW."""

    lr: PositiveFloat = 1e-6
    """Peak learning rate."""
    betas: tuple[float, float] = Field(default=(0.9, 0.999), strict=False)
    """Decay rates of the moments."""
    eps: PositiveFloat = 1e-8
    """Added to the denominator."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled decay."""
    grad_clip: PositiveFloat = 1.0
    """Largest global gradient norm."""
    schedule: Literal["constant", "cosine"] = "constant"
    """After the warm-up."""
    warmup_steps: NonNegativeInt = 0
    """Linear from 0."""
    min_lr_ratio: float = Field(default=0.1, ge=0.0, le=1.0)
    """`cosine` ends at this share of `lr`, at `train.num_steps`."""


class LearnerConfig(RoleConfig):
    """DeepSpeed ranks: `replicas` is the world size."""

    zero_stage: int = Field(default=1, ge=1, le=3)
    """Stage 0 is refused: it reports no gradient norm in float32 and errs in bfloat16."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """AdamW and its schedule."""
    micro_batch_tokens: PositiveInt = 16384
    """Token budget of one forward and backward pass on one rank."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    offload_optimizer: bool = False
    """Keep the optimizer's state and its work in host memory: 12 bytes a weight less on the GPU, slower."""
    num_threads: PositiveInt | None = None
    """CPU threads of one rank; torch's own choice where not given."""
    step_timeout_s: PositiveFloat = 1800.0
    """Longest one optimizer step, or one collective inside it, may take."""
    max_restarts: NonNegativeInt = 3
    """How often all ranks may be started again, from the last checkpoint, within
    supervision.restart_window_s."""


class GuardConfig(Section):
    """When generators and trainer disagree too much. Intake is paused then, and the generators' weights and
    caches are renewed; if that does not help, the run ends with the likely cause.
    """

    max_mismatch_kl: PositiveFloat = 0.1
    """Mean k3 of KL(behaviour || proximal) over the responses that one version sampled and scored."""
    max_capped_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Of the importance weights, cut off by algorithm.is_cap or algorithm.is_mode."""
    patience: PositiveInt = 3
    """Steps in a row beyond a limit."""


class TrainConfig(Section):
    """The run."""

    num_steps: PositiveInt = 100
    """Optimizer steps."""
    groups_per_step: PositiveInt = 32
    """Groups in one optimizer step, over all ranks."""
    max_lag: NonNegativeInt = 2
    """Most optimizer steps between the oldest version in a group and the step that trains on it."""
    order_window: NonNegativeInt | None = None
    """Most younger groups trained before a group; the learner waits for one overtaken so often, so that none
    gets too old. Costs as many admission slots. Null: whatever is ready trains, what is too old is redone."""
    save_every: NonNegativeInt = 50
    """Steps between checkpoints, what a run loses at most; 0 saves at the end only."""
    keep_checkpoints: PositiveInt = 2
    """Newest checkpoints kept; older ones are deleted once the next is whole."""
    keep_best: NonNegativeInt = 1
    """Best checkpoints kept beside them, by the accuracy that was known when they were saved."""
    checkpoint_url: str | None = None
    """Where each checkpoint is copied to in the background: any URL of fsspec, as `s3://bucket/run`."""
    batch_timeout_s: PositiveFloat = 900.0
    """Longest the learner waits for a batch before the run ends with what it waited for."""
    max_skipped_steps: PositiveInt = 3
    """Steps in a row that update nothing, since loss or gradient are not finite, after which the learner goes
    back to its last checkpoint, as after a failure (learner.max_restarts)."""
    guard: GuardConfig = Field(default_factory=GuardConfig)
    max_quarantined_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """The run ends, with the commonest reasons, when more than this share of the prompts was quarantined."""
    min_quarantined: PositiveInt = 32
    """But not before so many were."""
    diagnostics_every: NonNegativeInt = 10
    """Steps between estimates of the gradient's variance; each costs one more pass of the output layer."""
