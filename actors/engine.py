"""One vLLM engine: sampling groups, and taking new weights while requests are in flight.

Owns the `AsyncLLM`; how it loads weights is `engine_weights`'. Knows nothing of Ray, queues or rewards;
`actors.generator` calls it. Everything it returns is numpy, so vLLM's types stop here.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import xxhash
from PIL.Image import Image

from pgpo_async.actors.concurrency import EngineLoad
from pgpo_async.actors.engine_weights import engine_weights
from pgpo_async.config.pipeline import GeneratorConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, PromptError, Rollout, VersionSpan, WeightError
from pgpo_async.contracts.rollouts import Int32Array

# Sampling one of these makes the next forward look for image features that do not exist.
PLACEHOLDERS = ("<|image_pad|>", "<|video_pad|>")
SHUTDOWN_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How many responses, and how they are drawn."""

    num_samples: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None
    """With one, a prompt's responses are the same each time it is asked of the same weights."""

    def prompt_seed(self, prompt_id: str) -> int | None:
        """The seed of one prompt's responses, in 63 bits."""
        if self.seed is None:
            return None
        return xxhash.xxh3_64_intdigest(f"{self.seed}/{prompt_id}".encode()) >> 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledGroup:
    """The engine's answer to one prompt: expanded prompt tokens int32 [P] and unrewarded rollouts."""

    prompt_token_ids: Int32Array
    rollouts: tuple[Rollout, ...]


class RolloutEngine:
    """A vLLM engine at a known weight version."""

    def __init__(self, config: RunConfig, model_path: str, *, seed: int) -> None:
        self._config = config
        self._model_path = model_path
        self._seed = seed
        self._llm: Any = None
        self._meter: Any = None
        self._tokenizer: Any = None
        self._num_requests = 0
        self._updating = asyncio.Lock()
        self._placeholder_ids: dict[int, float] = {}
        self._weights = engine_weights(config.model.lora)
        self._salt = ""
        self.version = 0

    async def start(self, version: int = 0) -> None:
        """Load the checkpoint; the engine serves `version` from then on."""
        _set_environment(self._config.generator)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from pgpo_async.actors.engine_load import LoadMeter

        self._meter = LoadMeter()
        args = AsyncEngineArgs(**self._engine_arguments())
        loggers: list[Any] = [self._meter]
        if self._config.metrics.engine:
            loggers.append(_ray_logger())
        self._llm = AsyncLLM.from_engine_args(args, stat_loggers=loggers)
        tokenizer = self._tokenizer = self._llm.get_tokenizer()
        self._placeholder_ids = {
            tokenizer.convert_tokens_to_ids(token): -100.0
            for token in PLACEHOLDERS
            if token in tokenizer.get_vocab()
        }
        await self._weights.start(self._llm)
        await self._llm.update_weight_version(str(version))
        self.version = version

    def _engine_arguments(self) -> dict[str, Any]:
        config = self._config
        pixels = {"min_pixels": config.model.min_pixels, "max_pixels": config.model.max_pixels}
        defaults: dict[str, Any] = {
            "max_model_len": config.data.max_prompt_tokens + config.generation.max_response_tokens,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
        }
        fixed: dict[str, Any] = {
            "model": self._model_path,
            "dtype": config.model.dtype,
            "trust_remote_code": config.model.trust_remote_code,
            "seed": self._seed,
            "limit_mm_per_prompt": {"image": config.model.max_images_per_prompt, "video": 0},
            "mm_processor_kwargs": {key: value for key, value in pixels.items() if value is not None},
            "logprobs_mode": "processed_logprobs",
        }
        if config.generator.gpus == 0:
            # The CPU engine's own worker process would be waited for in a busy loop: half of a small machine.
            defaults["distributed_executor_backend"] = "uni"
            # Its own default, 128, is longer than many prompts: a group's responses would share nothing.
            defaults["block_size"] = 32
        return {**defaults, **config.generator.engine, **fixed, **self._weights.arguments()}

    async def sample(
        self,
        prompt_token_ids: Sequence[int],
        images: Sequence[Image],
        sampling: Sampling,
        *,
        prompt_id: str,
        request_id: str,
    ) -> SampledGroup:
        """Draw `num_samples` responses to one prompt (one placeholder token for each image).

        Raises PromptError if vLLM refuses the prompt; engine failures pass through as they are.
        """
        from vllm import SamplingParams, TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            n=sampling.num_samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.prompt_seed(prompt_id),
            logprobs=0,
            # One list of numbers instead of an object a token, and text only once, at the end: together a
            # third of this process's time.
            flat_logprobs=True,
            detokenize=False,
            logit_bias=self._placeholder_ids,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        # The salt keeps prefix blocks of one weight version from serving another.
        salt = f"{self._salt}v{self.version}"
        prompt = TokensPrompt(prompt_token_ids=list(prompt_token_ids), cache_salt=salt)
        if images:
            prompt["multi_modal_data"] = {"image": list(images)}
        self._num_requests += 1
        final = None
        try:
            async for output in self._llm.generate(
                prompt,
                params,
                f"{request_id}-{self._num_requests}",
                lora_request=self._weights.lora_request,
            ):
                final = output
        except ValueError as error:
            raise PromptError(
                f"vLLM refused the prompt: {error}", reason="engine_refused", prompt_id=prompt_id
            ) from error
        if final is None or not final.finished:
            raise PromptError("vLLM ended without an answer", reason="engine_refused", prompt_id=prompt_id)
        return SampledGroup(
            prompt_token_ids=np.asarray(final.prompt_token_ids, dtype=np.int32),
            rollouts=tuple(self._rollout(completion, prompt_id) for completion in final.outputs),
        )

    def _rollout(self, completion: Any, prompt_id: str) -> Rollout:
        token_ids = np.asarray(completion.token_ids, dtype=np.int32)
        if np.isin(token_ids, list(self._placeholder_ids)).any():
            raise PromptError(
                "a response holds an image placeholder", reason="sampled_placeholder", prompt_id=prompt_id
            )
        logprobs = completion.logprobs.logprobs
        spans = completion.weight_versions or ()
        return Rollout(
            response_token_ids=token_ids,
            behaviour_logprobs=np.asarray(logprobs, dtype=np.float32),
            version_spans=tuple(
                VersionSpan(version=int(s.version), start=s.start, end=s.end)
                for s in spans
                if s.end > s.start
            ),
            finish_reason=completion.finish_reason or "abort",
            text=self._tokenizer.decode(completion.token_ids, skip_special_tokens=True),
        )

    def take_load(self) -> EngineLoad | None:
        """Return the engine's load since the last call; None before its start."""
        return self._meter.take() if self._meter is not None else None

    async def load_weights(self, folder: str, version: int) -> float:
        """Load a staged version with requests in flight; return the seconds sampling stood still.

        Requests go on with the new weights from their next token. A failure half-way leaves a mixture
        of weights, so it is raised as WeightError and the engine must not be used again.
        """
        async with self._updating:
            began = time.perf_counter()
            await self._llm.pause_generation(mode="keep", clear_cache=False)
            try:
                await self._weights.load(self._llm, folder)
                await self._llm.update_weight_version(str(version))
            except Exception as error:
                raise WeightError(
                    f"loading weight version {version} from {folder} failed: {error}"
                ) from error
            self.version = version
            await self._llm.resume_generation()
            return time.perf_counter() - began

    def forget_versions(self, salt: str) -> None:
        """Count versions anew: this engine is older than any, until it has loaded one.

        `salt` must be another each time: prefix blocks of the versions before must not serve the new ones.
        """
        self._salt = f"{salt}-"
        self.version = -1

    async def weight_checksums(self, folder: str) -> dict[str, str]:
        """Return the checksum of each tensor named in a staged version, as the engine holds it."""
        (checksums,) = await self._llm.collective_rpc("weight_checksums", args=(folder,))
        return dict(checksums)

    def close(self) -> None:
        """Stop vLLM's processes, which free their shared memory if they are given the time."""
        if self._llm is not None:
            self._llm.shutdown(timeout=SHUTDOWN_S)
            self._llm = None


def _ray_logger() -> Any:
    """vLLM's logger that writes Ray metrics. Raises ConfigError where it cannot."""
    from vllm.v1.metrics import ray_wrappers

    if ray_wrappers.ray_metrics is None:
        raise ConfigError(
            "metrics.engine: vLLM's Ray logger imports ray.serve, whose dependencies are not installed: "
            f"pip install 'ray[serve]=={version('ray')}'"
        )
    return ray_wrappers.RayPrometheusStatLogger


def _set_environment(config: GeneratorConfig) -> None:
    """Set what vLLM and its child processes read when they are first imported."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if config.gpus == 0:
        # Or vLLM's CPU platform would take a worker process whatever the executor asked for.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    if config.num_threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(config.num_threads)
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
