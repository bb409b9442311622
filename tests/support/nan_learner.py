"""A learner that sleeps, and once has three steps in a row whose gradient is not finite.

Sent to Ray's actors by value, which do not find this module.
"""

import sys
from pathlib import Path

import ray

from pgpo_async.bench.sleeping_learner import SleepingLearner, SleepingTrainer

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

FIRST, NUM_BAD = 3, 3


class NanTrainer(SleepingTrainer):
    def _begin(self, config, publish, spans):
        super()._begin(config, publish, spans)
        self._num_steps = 0
        self._done = Path(config.output_dir) / "was-not-finite"

    def train_step(self, groups, problem="no groups"):
        metrics = super().train_step(groups, problem)
        self._num_steps += 1
        if self._num_steps > FIRST and not self._done.exists():
            if self._num_steps == FIRST + NUM_BAD:
                self._done.touch()
            return metrics | {"loss": float("nan"), "skipped_step": 1.0}
        return metrics


class NanLearner(SleepingLearner):
    def _make_trainer(self, publish):
        return NanTrainer(self._config, self._rank, publish, self._activity, self._spans)
