"""Who plays which role, and when the processes of one run can serve another."""

from dataclasses import dataclass
from typing import Any

from pgpo_async.actors.generator import Generator
from pgpo_async.actors.scorer import Scorer
from pgpo_async.config.schema import RunConfig
from pgpo_async.learner.worker import LearnerWorker


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """The actors' classes: `bench` puts simulated stages in their places."""

    generator: type = Generator
    scorer: type = Scorer
    learner: type = LearnerWorker


def processes(config: RunConfig) -> Any:
    """Return what decides how a run's processes are made, and what they keep from run to run."""
    learner = config.learner.model_dump(
        include={"replicas", "cpus", "gpus", "resources", "labels", "num_threads"}
    )
    data = config.data.model_dump(
        include={"system_prompt", "instruction", "max_prompt_tokens", "max_image_pixels"}
    )
    sections = (config.model, config.generation, config.generator, config.scorer, config.reward, config.ray)
    evaluators = config.evaluation.every and config.evaluation.replicas
    return learner, data, evaluators, [section.model_dump() for section in sections]
