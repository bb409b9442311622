"""One optimizer step of the demo: the learner as it runs (DeepSpeed, its loss, its metrics) against TRL.

The same weights, responses and rewards, in one process on the same cores. Ours counts everything from scored
groups to updated weights: checks, images, passes, loss, metrics, backward, update. Each of its steps has new
drawings, or its memory of images would spare it work. TRL's counts its preparation of the batch, loss,
backward and update; its generation is replaced by the given responses. Called by `policy`.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pgpo_async.bench.peer_trl import Task, measure_trl
from pgpo_async.config import RunConfig
from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, ScoredGroup, TrainBatch, VersionSpan
from pgpo_async.contracts.rollouts import Int32Array
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.demo.shapes import shapes_example, user_text
from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.policy.images import decode_image

NUM_PROMPTS, GROUP_SIZE = 32, 8
LEARNING_RATE = 1e-4
MIN_STEPS = 7
"""The first steps of either warm up: fewer would be their median."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Example:
    question: str
    image: bytes
    responses: tuple[Int32Array, ...]
    rewards: tuple[float, ...]


def measure_peer(repeats: int) -> dict[str, Any]:
    """Median seconds of a step, of at least `MIN_STEPS`, ours and TRL's, and their ratio.

    Raises ConfigError without TRL.
    """
    examples = [_example(index) for index in range(NUM_PROMPTS)]
    task = Task(
        prompts=[(user_text(example.question), example.image) for example in examples],
        responses=[example.responses for example in examples],
        rewards=[example.rewards for example in examples],
    )
    steps = max(MIN_STEPS, repeats)
    trl = measure_trl(Path(tiny_vlm_path()), task, steps=steps, lr=LEARNING_RATE)
    ours_s = statistics.median(_our_steps(examples, steps))
    return {
        "peer_step_ratio": ours_s / trl.whole_s,
        "peer": {
            "name": f"TRL {trl.version}",
            "ours_s": ours_s,
            "peer_s": trl.whole_s,
            "peer_prepare_s": statistics.median(trl.prepare_s),
            "peer_step_s": statistics.median(trl.step_s),
            "peer_micro_batch": trl.micro_batch,
        },
    }


def _example(index: int) -> _Example:
    random = np.random.default_rng(index)
    shapes = shapes_example("train", 0, index)
    lengths = random.integers(15, 26, GROUP_SIZE)
    return _Example(
        question=shapes.question,
        image=shapes.image_png,
        responses=tuple(random.integers(60, 260, length).astype(np.int32) for length in lengths),
        rewards=tuple(float(reward) for reward in random.integers(0, 2, GROUP_SIZE)),
    )


def _our_steps(examples: Sequence[_Example], steps: int) -> list[float]:
    from pgpo_async.learner.distributed import join_ranks, leave_ranks
    from pgpo_async.learner.engine import LearnerEngine
    from pgpo_async.learner.ports import free_port

    config = RunConfig.model_validate(
        {
            "model": {"path": "builtin:tiny-vlm", "dtype": "float32"},
            "generation": {"group_size": GROUP_SIZE},
            "learner": {"optimizer": {"lr": LEARNING_RATE}, "micro_batch_tokens": 16384},
            "train": {"groups_per_step": NUM_PROMPTS},
        }
    )
    device = join_ranks(
        rank=0, world_size=1, master_addr="127.0.0.1", master_port=free_port(), use_gpu=False, timeout_s=60.0
    )
    try:
        engine = LearnerEngine(config, device)
        encoder = ChatEncoder(engine.processor, config.data, config.model)
        num_tokens = sum(len(response) for example in examples for response in example.responses)
        seconds = []
        for step in range(steps + 1):
            drawn = [_example(step * NUM_PROMPTS + index) for index in range(NUM_PROMPTS)]
            groups = tuple(
                _scored(
                    index,
                    replace(new, responses=old.responses, rewards=old.rewards),
                    engine.processor,
                    encoder,
                )
                for index, (new, old) in enumerate(zip(drawn, examples, strict=True))
            )
            batch = TrainBatch(step=step, groups=groups, normalizer=float(num_tokens), version=step)
            started_s = time.perf_counter()
            metrics = engine.train_step(engine.plan(batch))
            seconds.append(time.perf_counter() - started_s)
            assert metrics["num_tokens"] == num_tokens
        return seconds[1:]
    finally:
        leave_ranks()


def _scored(index: int, example: _Example, processor: Any, encoder: ChatEncoder) -> ScoredGroup:
    prompt = Prompt(
        prompt_id=str(index), question=example.question, answer="", images=(example.image,), index=index
    )
    image = decode_image(example.image)
    token_ids = processor(text=[encoder.chat_text(prompt)], images=[image])["input_ids"][0]
    rows = tuple(np.full(len(response), -2.0, np.float32) for response in example.responses)
    rollouts = tuple(
        Rollout(
            response_token_ids=response,
            behaviour_logprobs=row,
            version_spans=(VersionSpan(version=0, start=0, end=len(response)),),
            finish_reason="stop",
            text="",
            reward=reward,
        )
        for response, row, reward in zip(example.responses, rows, example.rewards, strict=True)
    )
    group = RolloutGroup(
        group_id=str(index),
        prompt=prompt,
        prompt_token_ids=np.array(token_ids, np.int32),
        rollouts=rollouts,
    )
    return ScoredGroup(
        group=group,
        proximal_logprobs=rows,
        dependency=tuple(np.zeros_like(row) for row in rows),
        token_weights=tuple(np.ones_like(row) for row in rows),
        scorer_version=0,
        metrics={},
    )
