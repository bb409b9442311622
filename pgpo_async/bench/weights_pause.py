"""How long sampling stands still for new weights: a real vLLM engine on the tiny model, asked all the time.

Versions take the same way as in `weights`, and the engine loads them with requests in flight. Called by
`weights_table`.
"""

import asyncio
import os
import statistics
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pgpo_async.actors.engine import RolloutEngine, Sampling
from pgpo_async.bench.weights import WeightPath, change
from pgpo_async.config import RunConfig
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.data.chat import ChatEncoder, ChatPrompt
from pgpo_async.demo.shapes import shapes_example
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model_path import resolve_model_path

NUM_UPDATES = 20
PROMPTS_IN_FLIGHT = 16
SAMPLES = 8
BETWEEN_S = 0.3
"""Between two updates, so that each finds requests half-way."""

_ENGINE = {
    "enforce_eager": True,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "max_model_len": 512,
    "kv_cache_memory_bytes": 256 << 20,
    "gpu_memory_utilization": 0.1,
}


def check_engine() -> None:
    """Raise ConfigError where there is no vLLM."""
    if find_spec("vllm") is None:
        raise ConfigError("--engine: vllm must be installed, or pass --no-engine")


def bench_pauses(*, changed: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Median and worst seconds of `NUM_UPDATES` pauses, and whether the engine holds the last version's bits.

    Raises WeightError if a version could not be loaded, and whatever vLLM raises at its start.
    """
    # Its processes are started afresh: a copy of this one, with torch's threads gone, could hang.
    # vLLM warns at each reload of layers that have no weights of their own.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
    config = RunConfig.model_validate(
        {
            "model": {"path": "builtin:tiny-vlm", "dtype": "float32"},
            "data": {"max_prompt_tokens": 256, "system_prompt": ""},
            "generation": {"max_response_tokens": 64},
            "generator": {"num_threads": 1, "engine": _ENGINE},
        }
    )
    return asyncio.run(_bench(config, changed, say))


async def _bench(config: RunConfig, changed: float, say: Callable[[str], None]) -> dict[str, Any]:
    model_path = resolve_model_path(config.model.path)
    policy = load_policy(config.model.path, dtype="float32")
    weights = {name: tensor.clone() for name, tensor in policy.hf_state_dict().items()}
    engine = RolloutEngine(config, model_path, seed=0)
    say("starting the engine")
    try:
        await engine.start()
        requests = _Requests(engine, config)
        with WeightPath(config.weights) as path:
            await requests.first_round()
            pauses, last = [], ""
            for version in range(1, NUM_UPDATES + 1):
                say(f"update {version} of {NUM_UPDATES}")
                await asyncio.sleep(BETWEEN_S)
                requests.check()
                change(weights, changed)
                await asyncio.to_thread(path.publish, version, weights)
                staged = await asyncio.to_thread(path.stage)
                with path.staging.reading(Path(staged.folder)):
                    pauses.append(await engine.load_weights(staged.folder, version))
                last = staged.folder
            num_mixed = await requests.stop()
            held = await engine.weight_checksums(last)
            exact = held == staged.manifest.tensor_checksums()
    finally:
        engine.close()
    return {
        "update_pause_p50_s": statistics.median(pauses),
        "update_pause_max_s": max(pauses),
        "update_pauses": len(pauses),
        "update_pauses_s": pauses,
        "update_model_bytes": sum(tensor.nbytes for tensor in weights.values()),
        "update_bit_exact": exact,
        "rollouts_with_several_versions": num_mixed,
    }


class _Requests:
    """Some prompts in flight at any time."""

    def __init__(self, engine: RolloutEngine, config: RunConfig) -> None:
        self._engine = engine
        self._num_mixed = 0
        self._answered: set[int] = set()
        self._sampling = Sampling(
            num_samples=SAMPLES,
            temperature=1.0,
            top_p=1.0,
            max_tokens=config.generation.max_response_tokens,
        )
        chat = ChatEncoder(load_processor(config.model.path), config.data, config.model)
        self._tasks = [
            asyncio.create_task(self._ask(number, chat.encode(_prompt(number))))
            for number in range(PROMPTS_IN_FLIGHT)
        ]

    async def first_round(self) -> None:
        """Wait for an answer to each prompt: what an engine does once is not part of a pause."""
        while self._answered < set(range(PROMPTS_IN_FLIGHT)):
            self.check()
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raise what ended a request."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> int:
        """End all; returns how many responses were sampled with several versions."""
        self.check()
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        return self._num_mixed

    async def _ask(self, number: int, chat: ChatPrompt) -> None:
        name = str(number)
        while True:
            group = await self._engine.sample(
                chat.prompt_token_ids, chat.images, self._sampling, prompt_id=name, request_id=name
            )
            self._answered.add(number)
            self._num_mixed += sum(len(rollout.version_spans) > 1 for rollout in group.rollouts)


def _prompt(number: int) -> Prompt:
    example = shapes_example("heldout", 0, number)
    return Prompt(
        prompt_id=str(number),
        question=example.question,
        answer=example.answer,
        images=(example.image_png,),
        index=number,
    )
