"""The model of a checkpoint, without DeepSpeed: at ZeRO 1 and 2 the first rank's file holds all weights.

Owns reading that file, and making of it what the learner makes at a run's end (`learner.saving.export_hf`).
Of a run with adapters it holds them, and the other weights are those of `model.path`.
At ZeRO 3 each rank holds a part, which only a run puts together. Heavy; called by `command`.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from pydantic import ValidationError
from safetensors import SafetensorError

from pgpo_async.config.inputs import ModelConfig
from pgpo_async.contracts import ConfigError, WeightError
from pgpo_async.contracts.weights import ADAPTER_FOLDER
from pgpo_async.export.source import Source, resume_command
from pgpo_async.learner import manifest
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.lora import write_adapters
from pgpo_async.policy.model import PolicyModel

STATES = "mp_rank_00_model_states.pt"
_PREFIX = "model."
"""Of `PolicyModel`, around the Hugging Face model."""


def write_model(source: Source, folder: Path) -> None:
    """Write the checkpoint's weights, config, tokenizer and processor into `folder`.

    Raises ConfigError if the checkpoint is damaged or of a stage at which that cannot be done, or if the
    model that the run started from cannot be read: it gives what is not trained.
    """
    home, model = source.checkpoint_folder, _model_config(source)
    _check_stage(source)
    try:
        manifest.verify(home)  # before anything is unpickled
    except (WeightError, OSError) as error:
        raise ConfigError(f"--checkpoint: {error}; choose another, or export the run's model/") from error
    transformers.utils.logging.disable_progress_bar()
    trained = _trained(home / STATES)
    policy = load_policy(
        model.path, dtype=model.dtype, trust_remote_code=model.trust_remote_code, lora=model.lora
    )
    names = policy.state_dict().keys() if policy.lora else [_PREFIX + name for name in policy.state_names]
    lost = [name for name in names if name not in trained]
    if lost:
        raise ConfigError(
            f"--checkpoint: {home / STATES} must hold all weights trained of {model.path!r}, lacks {lost[0]} "
            f"and {len(lost) - 1} more: {_ended_by_a_run(source)}"
        )
    try:
        if policy.lora is None:
            weights = {name: trained[_PREFIX + name] for name in policy.state_names}
        else:
            weights = _with_adapters(policy, trained, folder / ADAPTER_FOLDER, model)
        policy.model.save_pretrained(folder, state_dict=weights)
    except SafetensorError as error:  # so it tells of a full disk
        raise ConfigError(
            f"--output: {folder} cannot hold the weights: {error}; choose another folder"
        ) from error
    processor = load_processor(
        model.path,
        min_pixels=model.min_pixels,
        max_pixels=model.max_pixels,
        trust_remote_code=model.trust_remote_code,
    )
    processor.save_pretrained(folder)


def _with_adapters(
    policy: PolicyModel, trained: Mapping[str, torch.Tensor], folder: Path, model: ModelConfig
) -> dict[str, torch.Tensor]:
    """The weights with the checkpoint's adapters merged in; by themselves these go into `folder`."""
    policy.load_state_dict(trained, strict=False)
    weights = {name: parameter.detach() for name, parameter in policy.weights_and_adapters()}
    folder.mkdir()
    write_adapters(folder, weights, model.lora, model.path)
    return policy.merged(weights)


def _check_stage(source: Source) -> None:
    assert source.checkpoint is not None, "a checkpoint must have been chosen"
    if source.checkpoint.zero_stage >= 3:
        raise ConfigError(
            f"--checkpoint: must be of ZeRO stage 1 or 2, got {source.checkpoint.tag} of stage "
            f"{source.checkpoint.zero_stage}, whose ranks hold a part of the weights each: "
            f"{_ended_by_a_run(source)}"
        )


def _ended_by_a_run(source: Source) -> str:
    if source.run.status == "completed":
        return "export the model that the run ended with (no --checkpoint)"
    assert source.checkpoint is not None
    return f"go on with {resume_command(source.run, source.checkpoint.tag)} and export the model it ends with"


def _model_config(source: Source) -> ModelConfig:
    try:
        return ModelConfig.model_validate(source.run.setting("model") or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["model", *map(str, first["loc"])])
        raise ConfigError(
            f"{source.run.folder / 'config.yaml'}: {field}: {first['msg']}: export it with the version of "
            "pgpo-async that the run was made with"
        ) from error


def _trained(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        module: Mapping[str, torch.Tensor] = content["module"]
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise ConfigError(f"--checkpoint: {path} must hold the weights, cannot be read: {reason}") from error
    return module
