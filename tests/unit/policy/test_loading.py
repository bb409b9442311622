"""From a path to a policy: names, precision, and clear refusals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pgpo_async.contracts import ConfigError
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.model_path import resolve_model_path


@pytest.mark.parametrize("tied", [True, False])
def test_weights_have_the_names_of_the_hugging_face_model_and_a_tied_head_is_listed_once(
    tied: bool, make_model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    policy = load_policy(str(make_model_folder(tied=tied)), dtype="float32")
    state = policy.hf_state_dict()
    assert tuple(state) == policy.state_names
    assert ("lm_head.weight" in state) is not tied
    assert {name.split(".")[1] for name in state} - {"weight"} == {"language_model", "visual"}
    assert sum(t.numel() for t in state.values()) == sum(p.numel() for p in policy.parameters())
    policy.model.save_pretrained(tmp_path / "again", state_dict=state)
    again = load_policy(str(tmp_path / "again"), dtype="float32").hf_state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


def test_casting_the_module_casts_weights_but_not_rotary_frequencies(
    policy: PolicyModel,
    collator: Collator,
    mixed_groups: list[PromptGroup],
    model_folder: Path,
) -> None:
    before = {name: buffer.clone() for name, buffer in policy.named_buffers()}
    policy.bfloat16()
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.bfloat16}
    assert len(before) >= 2
    for name, buffer in policy.named_buffers():
        assert torch.equal(buffer, before[name]), name
    inputs = collator(mixed_groups)
    loaded = load_policy(str(model_folder), dtype="bfloat16")
    with torch.inference_mode():
        cast_logprobs_N = policy(inputs).logprobs
        assert torch.equal(cast_logprobs_N, loaded(inputs).logprobs)
    assert cast_logprobs_N.dtype == torch.float32


def test_a_frozen_vision_tower_gets_no_gradient(
    model_folder: Path, collator: Collator, mixed_groups: list[PromptGroup]
) -> None:
    policy = load_policy(str(model_folder), dtype="float32", train_vision_tower=False)
    policy(collator(mixed_groups)).logprobs.sum().backward()
    for name, parameter in policy.hf_named_parameters():
        assert (parameter.grad is None) is ("visual" in name), name


def test_image_limits_replace_the_processors_own(model_folder: Path) -> None:
    own, limited = load_processor(str(model_folder)), load_processor(str(model_folder), max_pixels=90_000)
    assert limited.image_processor.size["longest_edge"] == 90_000
    assert limited.image_processor.size["shortest_edge"] == own.image_processor.size["shortest_edge"]
    with pytest.raises(ConfigError, match=r"min_pixels must be at most .*, got 90 above 80"):
        load_processor(str(model_folder), min_pixels=90, max_pixels=80)


def test_paths_that_hold_no_model_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"existing folder, a hub name .* got '/no/such/folder': check the path"
    ):
        resolve_model_path("/no/such/folder")
    with pytest.raises(ConfigError, match=r"which has no config\.json"):
        resolve_model_path(str(tmp_path))
    with pytest.raises(ConfigError, match=r"builtin:tiny-vlm.*builtin:tiny-vlm-objects.*got 'builtin:huge'"):
        resolve_model_path("builtin:huge")
    assert resolve_model_path("owner/some-model-3B") == "owner/some-model-3B"
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="that transformers can read"):
        load_policy(str(tmp_path), dtype="float32")


@pytest.mark.parametrize("model_type", ["qwen3_5", "llama"])
def test_models_whose_blind_pass_is_not_known_to_be_exact_are_refused(
    model_type: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(
        ConfigError, match=f"qwen2_vl or qwen2_5_vl or qwen3_vl, got .* of type '{model_type}'"
    ):
        load_policy(str(tmp_path), dtype="float32")


def test_a_sliding_window_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["layer_types"] = ["full_attention", "sliding_attention"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="full attention in all layers"):
        load_policy(str(folder), dtype="float32")


REMOTE = """
import pathlib
pathlib.Path(__file__).with_name("it-ran").touch()
from transformers import PretrainedConfig

class Own(PretrainedConfig):
    model_type = "own"
"""


def test_code_that_a_model_brings_is_not_run_unless_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "cache"))
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "remote.Own"}})
    )
    (tmp_path / "remote.py").write_text(REMOTE)
    with pytest.raises(ConfigError, match=r"model\.trust_remote_code=true"):
        load_policy(str(tmp_path), dtype="float32")
    assert not list(tmp_path.rglob("it-ran"))
    with pytest.raises(ConfigError, match="must hold a model of type"):
        load_policy(str(tmp_path), dtype="float32", trust_remote_code=True)


def test_vllm_gets_the_same_word_on_remote_code_as_the_others():
    from pgpo_async.actors.engine import RolloutEngine
    from pgpo_async.config import RunConfig

    for trusted in (False, True):
        config = RunConfig.model_validate({"model": {"trust_remote_code": trusted}})
        arguments = RolloutEngine(config, "path", seed=0)._engine_arguments()
        assert arguments["trust_remote_code"] is trusted
    with pytest.raises(ValueError, match=r"model\.trust_remote_code sets it"):
        RunConfig.model_validate({"generator": {"engine": {"trust_remote_code": True}}})
