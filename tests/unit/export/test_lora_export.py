import json

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from pgpo_async.config.inputs import LoraConfig
from pgpo_async.contracts.weights import ADAPTER_FOLDER
from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.export.command import export_run
from pgpo_async.policy.loading import load_policy
from pgpo_async.policy.lora import write_adapters

LORA = LoraConfig(rank=2, alpha=6, target_modules=("q_proj", "down_proj"))


def lora_run(new_run):
    return new_run().configured(
        model={"lora.rank": 2, "lora.alpha": 6, "lora.target_modules": ["q_proj", "down_proj"]}
    )


def test_a_checkpoint_of_adapters_is_exported_merged_and_by_itself(new_run):
    run = lora_run(new_run).trained().summed_up()
    state = run.checkpointed(4, lora=LORA)
    exported = export_run(run.path, checkpoint="step-00000004")
    assert all(".lora_" in name for name in state)
    merged = load_file(exported.folder / "model.safetensors")
    base = load_file(f"{tiny_vlm_path()}/model.safetensors")
    layer = "model.language_model.layers.0.self_attn.q_proj"
    down, up = (state[f"model.{layer}.lora_{part}.default.weight"] for part in "AB")
    names = load_policy("builtin:tiny-vlm", dtype="float32").state_names
    assert len(merged) == len(names)
    plain = AutoModelForImageTextToText.from_pretrained(tiny_vlm_path(), dtype=torch.float32)
    expected = plain.get_parameter(f"{layer}.weight") + 3.0 * up @ down
    whole = dict(AutoModelForImageTextToText.from_pretrained(exported.folder).named_parameters())
    torch.testing.assert_close(whole[f"{layer}.weight"], expected)
    assert sum(not torch.equal(merged[name], base[name].float()) for name in base) == 2 * 3

    read = PeftModel.from_pretrained(plain, exported.folder / ADAPTER_FOLDER).merge_and_unload()
    for name, weight in read.named_parameters():
        torch.testing.assert_close(whole[name], weight, rtol=1e-6, atol=1e-6)


def test_a_runs_adapters_go_with_its_model_and_the_card_tells_of_them(new_run, tmp_path):
    run = lora_run(new_run).trained().summed_up().with_model()
    (run.path / ADAPTER_FOLDER).mkdir()
    weights = load_policy("builtin:tiny-vlm", dtype="float32", lora=LORA).weights_and_adapters()
    place = str(tmp_path / "somewhere" / "private")
    write_adapters(run.path / ADAPTER_FOLDER, {n: p.detach() for n, p in weights}, LORA, place)
    exported = export_run(run.path)
    assert {f"{ADAPTER_FOLDER}/adapter_config.json", f"{ADAPTER_FOLDER}/adapter_model.safetensors"} < set(
        exported.sizes
    )
    card = (exported.folder / "README.md").read_text()
    for words in ("LoRA, rank 2", "| their alpha | 6 |", "| their layers | q_proj, down_proj |", "- lora"):
        assert words in card
    assert "| vision tower trained | no |" in card
    settings = json.loads((exported.folder / ADAPTER_FOLDER / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "builtin:tiny-vlm"


def test_a_run_that_trained_the_weights_themselves_tells_of_no_adapter(new_run):
    run = new_run().whole()
    exported = export_run(run.path)
    assert not (exported.folder / ADAPTER_FOLDER).exists()
    card = (exported.folder / "README.md").read_text().lower()
    assert "lora" not in card
    assert "adapter" not in card
