"""One rank of the learner: the policy under DeepSpeed, and one optimizer step on it.

    plan: check and cut (no collective)  ->  agree: is every rank ready, how many micro-batches  ->
    per micro-batch: collate (ahead), forward, loss, backward  ->  sums over ranks  ->  clip, update (or skip)

Owns the model, the optimizer and the step. Not what is sent where (`worker`, `group`), nor checkpoints, nor
publication. Everything here runs in one thread of one process; every rank must call the same methods in the
same order, since they are collective.
"""

from dataclasses import replace
from typing import Any

import torch

from pgpo_async.algorithms.shaping import make_shaper
from pgpo_async.config import RunConfig
from pgpo_async.contracts import LeaseError, TrainBatch
from pgpo_async.learner.batch_shaping import shape_batch
from pgpo_async.learner.deepspeed_config import deepspeed_config
from pgpo_async.learner.distributed import agree, import_deepspeed
from pgpo_async.learner.grad_variance import GradVariance
from pgpo_async.learner.micro_batches import StepWork, plan_step
from pgpo_async.learner.passes import MicroBatchPasses, StepMeters, masked_view
from pgpo_async.learner.schedule import learning_rate
from pgpo_async.learner.step_metrics import StepSums, means
from pgpo_async.learner.timer import PhaseTimer
from pgpo_async.metrics.activity import Activity
from pgpo_async.policy.inputs import Collator
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model import PolicyModel


class LearnerEngine:
    """Built after `distributed.join_ranks`, with the device it returned."""

    def __init__(self, config: RunConfig, device: torch.device, activity: Activity | None = None) -> None:
        self.config = config
        self.device = device
        self.activity = activity or Activity()
        self.activity.set("loading the model")
        torch.manual_seed(config.seed)
        if config.learner.num_threads is not None:
            torch.set_num_threads(config.learner.num_threads)
        model = config.model
        self.policy: PolicyModel = load_policy(
            model.path,
            dtype=model.dtype,
            device=device,
            train_vision_tower=model.train_vision_tower,
            activation_checkpointing=config.learner.activation_checkpointing,
            attention=model.attention,
            trust_remote_code=model.trust_remote_code,
            lora=model.lora,
        ).train()
        self.processor = load_processor(
            model.path,
            min_pixels=model.min_pixels,
            max_pixels=model.max_pixels,
            trust_remote_code=model.trust_remote_code,
        )
        self._collator = Collator(self.processor, self.policy.config)
        shaper = config.algorithm.shaper
        self._shaper = make_shaper(shaper.name, **shaper.parameters())
        self.activity.set("starting DeepSpeed")
        self.deepspeed = self._start_deepspeed()
        self._passes = MicroBatchPasses(self.deepspeed, self._shaper, config, self._collator, device)
        self.activity.set("idle")

    @property
    def rank(self) -> int:
        """This rank."""
        return torch.distributed.get_rank()

    @property
    def world_size(self) -> int:
        """All ranks."""
        return torch.distributed.get_world_size()

    def plan(self, batch: TrainBatch) -> StepWork:
        """Check and cut this rank's batch. Local, in any thread; raises ValueError, see `plan_step`."""
        return plan_step(
            batch,
            self.config,
            self._collator,
            pair_cost=self.policy.work.pair_cost,
            num_passes=self._passes.num_passes,
        )

    def train_step(self, work: StepWork | None, problem: str = "no work") -> dict[str, float]:
        """One optimizer step over all ranks; collective.

        Returns metrics over all ranks (names: `step_metrics.means`), and this rank's seconds `forward_s`,
        `backward_s`, `optimizer_s`. Where the loss or the gradient is not finite on any rank, nothing is
        updated on any and `skipped_step` is 1.

        With `work` None this rank has no batch, for the reason `problem`: all ranks then raise LeaseError
        with the reasons of all, and the weights stay as they are. What goes wrong in the step on one rank
        alone is raised there after the step, which then updates nothing on any.
        """
        num_micro_batches = self._agree(work, problem)
        assert work is not None
        timer, meters = PhaseTimer(self.device), self._meters(work.step)
        work, shaped = self._shaped(work)
        meters.sums.add(work.sums)
        failure = self._accumulate(work, num_micro_batches, timer, meters)
        self.activity.set("adding up metrics")
        totals = meters.sums.over_ranks()
        variance = meters.variance.over_ranks() if meters.variance is not None else {}
        update = self._update(work.step, timer)
        self.activity.set("idle")
        if failure is not None:
            raise failure
        return {
            **means(totals),
            **update,
            **timer.seconds,
            **shaped,
            **variance,
            "num_micro_batches": float(num_micro_batches),
        }

    def _meters(self, step: int) -> StepMeters:
        every = self.config.train.diagnostics_every
        if not every or step % every:
            return StepMeters(sums=StepSums(self.device))
        hidden_size = self.policy.config.get_text_config().hidden_size
        return StepMeters(sums=StepSums(self.device), variance=GradVariance(hidden_size, self.device))

    def _shaped(self, work: StepWork) -> tuple[StepWork, dict[str, float]]:
        """The work with its final token weights, and what is known of those of all ranks; collective."""
        metrics: dict[str, float] = {}
        if self._shaper.scope == "batch":
            self.activity.set("shaping the whole batch")
            progress = work.step / self.config.train.num_steps
            groups, metrics = shape_batch(work.batch.groups, self._shaper, progress=progress)
            work = self.plan(replace(work.batch, groups=groups))
        (largest, tail), _ = agree([work.largest_weight, work.largest_ratio], None, self.device)
        return work, {
            "weight_max": largest,
            "is_ratio_max": tail,
            **{f"shaper/{name}": value for name, value in metrics.items()},
        }

    def _agree(self, work: StepWork | None, problem: str) -> int:
        self.activity.set("waiting for all ranks to be ready")
        if work is None:
            largest, problems = agree([0.0], problem, self.device)
        else:
            # Without any micro-batch there would be no gradient to update with.
            largest, problems = agree([max(1, len(work.micro_batches))], None, self.device)
        if problems:
            self.activity.set("idle")
            raise LeaseError("step dropped before it began: " + "; ".join(problems))
        return int(largest[0])

    def _accumulate(
        self, work: StepWork, count: int, timer: PhaseTimer, meters: StepMeters
    ) -> Exception | None:
        """Forward and backward passes; returns what kept this rank from making its inputs, if anything."""
        collated = work.collated(self._collator, masked_view(self._shaper), self.config.seed)
        failure: Exception | None = None
        for number in range(count):
            where = f"of micro-batch {number + 1} of {count} in step {work.step}"
            mine = None
            try:
                mine = next(collated, None)
            except Exception as error:
                # The other ranks are in the step: go on with them, in a way that makes all drop the update.
                failure = error
            self.deepspeed.set_gradient_accumulation_boundary(number == count - 1)
            self.activity.set(f"forward pass {where}")
            if mine is None:
                loss = self._passes.no_loss() * (1.0 if failure is None else torch.nan)
            else:
                loss = self._passes.loss(mine, work.batch.normalizer, meters)
            timer.lap("forward_s")
            self.activity.set(f"backward pass {where}")
            # DeepSpeed takes the mean over ranks; the normalizer already counts all of them.
            self.deepspeed.backward(loss * self.world_size, scale_wrt_gas=False)
            timer.lap("backward_s")
        return failure

    def _update(self, step: int, timer: PhaseTimer) -> dict[str, float]:
        self.activity.set(f"update of step {step}")
        rate = learning_rate(step, self.config.learner.optimizer, self.config.train.num_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.deepspeed.step()
        timer.lap("optimizer_s")
        return {
            "lr": rate,
            "grad_norm": float(self.deepspeed.get_global_grad_norm()),
            "skipped_step": float(not self.deepspeed.was_step_applied()),
        }

    def _start_deepspeed(self) -> Any:
        config, optimizer = self.config, self.config.learner.optimizer
        trained = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(
            trained,
            lr=optimizer.lr,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
        )
        settings = deepspeed_config(
            config,
            world_size=self.world_size,
            num_parameters=sum(parameter.numel() for parameter in trained),
            hidden_size=self.policy.config.get_text_config().hidden_size,
        )
        engine, *_ = import_deepspeed().initialize(
            model=self.policy, optimizer=self._optimizer, config=settings, dist_init_required=False
        )
        return engine
