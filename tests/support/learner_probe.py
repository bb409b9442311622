"""The learner's engine and workers opened for tests, and groups for it to train on.

Classes are sent to Ray actors by value: pass this module to `ray.cloudpickle.register_pickle_by_value`.
"""

import io
import random
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import ray
import torch
from PIL import Image

from pgpo_async.algorithms.shaping import make_shaper
from pgpo_async.config import RunConfig
from pgpo_async.config.shapers import ShaperConfig
from pgpo_async.contracts import (
    Prompt,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    VersionSpan,
    content_hash,
    encode,
)
from pgpo_async.demo.shapes import shapes_example, user_text
from pgpo_async.learner.engine import LearnerEngine
from pgpo_async.learner.group import ACTOR_OPTIONS, start_group
from pgpo_async.learner.passes import MicroBatchPasses
from pgpo_async.learner.trainer import Trainer
from pgpo_async.learner.worker import LearnerWorker
from pgpo_async.policy.inputs import prompt_group
from pgpo_async.policy.passes import score_groups
from pgpo_async.policy.weight_delta import rebuild

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

MODEL = "builtin:tiny-vlm"
NUM_ANSWERS = 4
GRAD_CLIP = 0.1
ONE_PASS, SMALL_PASSES = 1 << 20, 90


class ProbeEngine(LearnerEngine):
    """Keeps each step's gradients, whole; its weights are what DeepSpeed itself calls the parameters."""

    def _update(self, step, timer):
        from deepspeed.utils import safe_get_full_grad

        found = {name: safe_get_full_grad(p) for name, p in self.policy.published_parameters()}
        self.gradients = {name: value.detach().clone() for name, value in found.items()}
        return super()._update(step, timer)

    def weights(self):
        from deepspeed.utils import safe_get_full_fp32_param

        return {
            name: safe_get_full_fp32_param(parameter).detach().clone()
            for name, parameter in self.policy.published_parameters()
        }

    def training_state(self):
        """Weights, both moments and the step counts: all that an update depends on."""
        from deepspeed.utils import safe_get_full_optimizer_state

        state = {f"{name}:fp32": value for name, value in self.weights().items()}
        for name, parameter in self.policy.published_parameters():
            for moment in ("exp_avg", "exp_avg_sq"):
                value = safe_get_full_optimizer_state(parameter, moment)
                state[f"{name}:{moment}"] = value.detach().clone()
        steps = {float(own["step"]) for own in self.deepspeed.optimizer.optimizer.state.values()}
        return {**state, "steps": torch.tensor(sorted(steps))}


class ProbeTrainer(Trainer):
    engine_class = ProbeEngine


class ProbeWorker(LearnerWorker):
    def _make_trainer(self, publish):
        return ProbeTrainer(
            self._config, self._rank, self._world_size, publish, activity=self._activity, spans=self._spans
        )

    @property
    def _engine(self):
        return self._trainer._engine

    def set_budget(self, micro_batch_tokens):
        engine = self._engine
        learner = engine.config.learner.model_copy(update={"micro_batch_tokens": micro_batch_tokens})
        engine.config = engine.config.model_copy(update={"learner": learner})

    def set_shaper(self, name):
        engine = self._engine
        shaper = ShaperConfig(name=name)
        algorithm = engine.config.algorithm.model_copy(update={"shaper": shaper})
        engine.config = engine.config.model_copy(update={"algorithm": algorithm})
        engine._shaper = make_shaper(name, **shaper.parameters())
        engine._passes = MicroBatchPasses(
            engine.deepspeed, engine._shaper, engine.config, engine._collator, engine.device
        )

    def gradients(self):
        return self._engine.gradients

    def weights(self):
        return self._in_torch_thread(self._engine.weights)

    def training_state(self):
        return self._in_torch_thread(self._engine.training_state)

    def draws(self):
        """The next number of each generator."""
        return self._in_torch_thread(lambda: (random.random(), np.random.rand(), float(torch.rand(1))))


class WriteTo:
    """A `publish` that leaves each version's files in a folder, whatever came as a change."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, manifest, payloads):
        home = Path(self.folder) / str(manifest.version)
        home.mkdir(parents=True)
        for entry, payload in zip(manifest.buckets, payloads, strict=True):
            data = payload.data
            if payload.base is not None:
                with (Path(self.folder) / str(payload.base) / entry.name).open("rb") as base:
                    data = b"".join(bytes(piece) for piece in rebuild(base, [data]))
            assert content_hash(data) == entry.checksum
            (home / entry.name).write_bytes(data)


def scored_demo_group(index, with_image, policy, processor, collator):
    rng = np.random.default_rng(index)
    example = shapes_example("train", 0, index)
    content = [{"type": "image"}] * with_image + [{"type": "text", "text": user_text(example.question)}]
    chat = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    images = (example.image_png,) if with_image else ()
    prompt_ids = processor(text=[chat], **_pictures(images))["input_ids"][0]
    rollouts = []
    for _ in range(NUM_ANSWERS):
        length = int(rng.integers(4, 24))
        rollouts.append(
            Rollout(
                response_token_ids=rng.integers(60, 260, length).astype(np.int32),
                behaviour_logprobs=np.zeros(length, np.float32),
                version_spans=(VersionSpan(version=0, start=0, end=length),),
                finish_reason="stop",
                text="",
                reward=float(rng.random()),
            )
        )
    group = RolloutGroup(
        group_id=f"g{index}",
        prompt=Prompt(prompt_id=f"p{index}", question="", answer="", images=images, index=index),
        prompt_token_ids=np.array(prompt_ids, np.int32),
        rollouts=tuple(rollouts),
    )
    (scores,) = score_groups(policy, collator, [prompt_group(group)], pass_tokens=4096)
    logprobs = scores.sighted

    def some():
        return tuple(rng.random(len(row)).astype(np.float32) for row in logprobs)

    def near(row):
        return (row + rng.normal(0, 0.1, len(row))).astype(np.float32)

    sampled = [replace(r, behaviour_logprobs=near(row)) for r, row in zip(rollouts, logprobs, strict=True)]
    return ScoredGroup(
        group=replace(group, rollouts=tuple(sampled)),
        proximal_logprobs=tuple(near(row) for row in logprobs),
        dependency=tuple(rng.random(len(row)).astype(np.float32) for row in logprobs),
        token_weights=tuple(
            # Heavier where the reward is higher, or the loss would be a sum of nearly nothing.
            (0.5 + rollout.reward + rng.random(len(rollout.response_token_ids))).astype(np.float32)
            for rollout in rollouts
        ),
        scorer_version=0,
        # What the methods that see the whole step read.
        signals={name: some() for name in ("masked_dependency_BT", "no_image_gap_BT", "entropy_BT")},
        metrics={"num_image_tokens": 10.0, "boosted_share": 0.25} if with_image else {},
    )


def _pictures(images):
    return {"images": [Image.open(io.BytesIO(data)) for data in images]} if images else {}


def as_leases(groups):
    """Every other payload by reference, as the queue lends them."""
    return [
        SimpleNamespace(
            ref=ray.put(encode(item)) if i % 2 else encode(item),
            header=getattr(item, "group", item).header(),
        )
        for i, item in enumerate(groups)
    ]


def learner_config(ranks, stage, dtype="float32", **train):
    # A large eps makes AdamW's step smooth in the gradient: without it the sign of rounding noise decides.
    optimizer = {"lr": 0.05, "eps": 0.1, "grad_clip": GRAD_CLIP, "warmup_steps": 2}
    learner = {
        "replicas": ranks,
        "zero_stage": stage,
        "num_threads": 1,
        "cpus": 0.5,
        "optimizer": optimizer,
        "micro_batch_tokens": ONE_PASS,
        # Neither changes a number.
        "offload_optimizer": stage == 2,
        "activation_checkpointing": stage == 3,
        "step_timeout_s": 300.0,
    }
    return RunConfig.model_validate(
        {
            "model": {"path": MODEL, "dtype": dtype},
            "generation": {"group_size": NUM_ANSWERS},
            "learner": learner,
            "weights": {"bucket_bytes": 200_000},
            "train": {"groups_per_step": 3, "diagnostics_every": 1, **train},
        }
    )


def start_ranks(config, folder):
    def make_actor(rank, world_size):
        options = {**ACTOR_OPTIONS, "num_cpus": config.learner.cpus}
        return (
            ray.remote(ProbeWorker)
            .options(**options)
            .remote(config, rank, world_size, WriteTo(str(folder)) if rank == 0 else None)
        )

    return start_group(config, make_actor)


def ask_all_ranks(group, method, *arguments):
    return ray.get([getattr(w, method).remote(*arguments) for w in group._workers], timeout=60)


def ask_ranks(group, method, *arguments):
    return ask_all_ranks(group, method, *arguments)[0]
