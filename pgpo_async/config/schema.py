"""`RunConfig`: the whole of one run, and the place where `checks` of several fields are applied."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from pgpo_async.config import checks
from pgpo_async.config.base import Section
from pgpo_async.config.inputs import DataConfig, EvaluationConfig, GenerationConfig, ModelConfig
from pgpo_async.config.observing import MetricsConfig
from pgpo_async.config.pipeline import (
    GeneratorConfig,
    QueueConfig,
    RayConfig,
    RewardConfig,
    ScorerConfig,
    SupervisionConfig,
    WeightsConfig,
)
from pgpo_async.config.training import AlgorithmConfig, LearnerConfig, TrainConfig


class RunConfig(Section):
    """One run. Written as `config.yaml` into its folder, which `launch` reads again as it is."""

    name: str = "run"
    """The run folder's name starts with it."""
    output_dir: str = "runs"
    """Run folders are made in it."""
    mode: Literal["async", "sync"] = "async"
    """`sync`: generate, score and train in turn, on the newest weights alone; train.max_lag counts as 0."""
    seed: int = 0
    """Seeds sampling, data order and the model's dropout."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    generation: GenerationConfig = GenerationConfig()
    generator: GeneratorConfig = GeneratorConfig()
    reward: RewardConfig = RewardConfig()
    queue: QueueConfig = QueueConfig()
    scorer: ScorerConfig = ScorerConfig()
    algorithm: AlgorithmConfig = AlgorithmConfig()
    learner: LearnerConfig = LearnerConfig()
    weights: WeightsConfig = WeightsConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    ray: RayConfig = RayConfig()
    metrics: MetricsConfig = MetricsConfig()
    trace: bool = False
    """Write what every actor did when into the run folder's timeline.json, for Perfetto or chrome://tracing."""

    @property
    def max_lag(self) -> int:
        """`train.max_lag`, or 0 where the stages take turns."""
        return 0 if self.mode == "sync" else self.train.max_lag

    @property
    def order_window(self) -> int | None:
        """`train.order_window`; in turns there is none to overtake."""
        return None if self.mode == "sync" else self.train.order_window

    @property
    def max_slots(self) -> int:
        """Admission slots: groups in flight and queued (DESIGN section 6), less those that pay the window."""
        return (self.max_lag + 1) * self.train.groups_per_step - (self.order_window or 0)

    @property
    def uses_scorers(self) -> bool:
        """Whether groups pass a scorer; without need they go from generator to learner."""
        algorithm = self.algorithm
        return algorithm.proximal == "scored" or bool(algorithm.scorer_reasons)

    @property
    def output_path(self) -> Path:
        """`output_dir` as a path, with `~` expanded."""
        return Path(self.output_dir).expanduser()

    def warnings(self) -> tuple[str, ...]:
        """Return what works, but perhaps not as expected: one line each, field first."""
        return tuple(checks.warnings(self))

    @model_validator(mode="after")
    def _fields_fit_together(self) -> "RunConfig":
        self.refuse(checks.problems(self))
        return self
