"""What is wrong in how the model and its engines are set up: devices, vLLM's arguments, adapters.

Called by `checks`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgpo_async.config.problem import Problem, problem

if TYPE_CHECKING:
    from pgpo_async.config.pipeline import RoleConfig
    from pgpo_async.config.schema import RunConfig

_BY_LORA = "model.lora sets it"
OWNED_ENGINE_ARGUMENTS = {
    "model": "model.path sets it",
    "dtype": "model.dtype sets it, for the scorer and the learner too",
    "seed": "seed sets it, another one for each generator",
    "limit_mm_per_prompt": "model.max_images_per_prompt sets it",
    "mm_processor_kwargs": "model.min_pixels and model.max_pixels set it",
    "logprobs_mode": "the loss needs processed log-probs",
    "trust_remote_code": "model.trust_remote_code sets it, for the scorer and the learner too",
    "worker_extension_cls": "the loading of new weights needs its own",
    "weight_transfer_config": "the loading of new weights needs its own",
    "enable_lora": _BY_LORA,
    "max_loras": _BY_LORA,
    "max_cpu_loras": _BY_LORA,
    "max_lora_rank": _BY_LORA,
    "lora_dtype": "model.dtype sets it, for the scorer and the learner too",
    "lora_target_modules": _BY_LORA,
    "default_mm_loras": _BY_LORA,
    "enable_tower_connector_lora": "model.lora gives the vision tower no adapters",
}
"""vLLM arguments that `generator.engine` cannot change, and why."""


def role_problems(config: "RunConfig") -> Iterator[Problem]:
    """Yield what no role could work with."""
    roles: dict[str, RoleConfig] = {
        "generator": config.generator,
        "reward": config.reward,
        "scorer": config.scorer,
    }
    for name, role in roles.items():
        if role.gpus > 1 and not role.gpus.is_integer():
            yield problem(f"must be a whole number or below 1, got {role.gpus}", f"{name}.gpus")
    for argument, reason in OWNED_ENGINE_ARGUMENTS.items():
        if argument in config.generator.engine:
            yield problem(f"cannot be set here: {reason}", f"generator.engine.{argument}")
    if config.learner.gpus > 1:
        yield problem(
            f"must be at most 1, a rank drives at most one device, got {config.learner.gpus}", "learner.gpus"
        )


def lora_problems(config: "RunConfig") -> Iterator[Problem]:
    """Yield why a run could not train adapters."""
    model = config.model
    if not model.lora.rank:
        return
    if not model.lora.target_modules:
        yield problem("must name at least one kind of layer, got none", "model.lora.target_modules")
    if model.dtype == "float32" and config.generator.gpus > 0:
        yield problem(
            f"must be 'bfloat16' with model.lora.rank {model.lora.rank} and generator.gpus "
            f"{config.generator.gpus:g}, for vLLM's GPU kernels know no adapters in float32, got 'float32'",
            "model.dtype",
            "model.lora.rank",
            "generator.gpus",
        )


def lora_warnings(config: "RunConfig") -> Iterator[str]:
    """Yield what a run that trains adapters leaves alone."""
    model = config.model
    if model.lora.rank and model.train_vision_tower:
        yield (
            f"model.lora.rank {model.lora.rank}: the vision tower stays as it is, whatever "
            "model.train_vision_tower says (write false to say so)"
        )
