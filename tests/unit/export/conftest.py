import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner, Result

from pgpo_async.config import dump_config, load_config
from pgpo_async.config.inputs import LoraConfig
from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.learner import checkpoint
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.policy.loading import load_policy

CONFIG = """
name: made
model: {path: "builtin:tiny-vlm", dtype: float32, max_pixels: 40000}
data: {system_prompt: "Look twice.", instruction: 'Answer in \\boxed{}.'}
generation: {max_response_tokens: 4, temperature: 0.5}
train: {num_steps: 12, groups_per_step: 4}
evaluation: {num_prompts: 50}
"""
SUMMARY = {
    "status": "completed",
    "accuracy_before": 0.25,
    "accuracy_after": 0.875,
    "steps": 12,
    "versions": {"pgpo-async": "0.0.7", "torch": "2.0.1"},
}


class RunMaker:
    """Makes a run's folder: the tiny model with other weights, as if trained."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        (path / "config.yaml").write_text(CONFIG)

    @property
    def model(self) -> Path:
        return self.path / "model"

    def configured(self, **sections: dict[str, Any]) -> "RunMaker":
        overrides = [
            f"{section}.{key}={json.dumps(value)}"
            for section, values in sections.items()
            for key, value in values.items()
        ]
        config = load_config(self.path / "config.yaml", overrides)
        (self.path / "config.yaml").write_text(dump_config(config))
        return self

    def trained(self, num_steps: int = 12) -> "RunMaker":
        rows = [{"step": step, "reward": step / 10, "accuracy": 0.5} for step in range(1, num_steps + 1)]
        (self.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return self

    def summed_up(self, **changes: Any) -> "RunMaker":
        (self.path / "summary.json").write_text(json.dumps(SUMMARY | changes))
        return self

    def with_model(self) -> "RunMaker":
        shutil.copytree(tiny_vlm_path(), self.model)
        weights = {name: tensor.float() + 0.01 for name, tensor in load_file(self.weights).items()}
        save_file(weights, self.weights, metadata={"format": "pt"})
        self.weights.chmod(0o600)
        return self

    def whole(self) -> "RunMaker":
        return self.configured().trained().summed_up().with_model()

    @property
    def weights(self) -> Path:
        return self.model / "model.safetensors"

    def checkpointed(
        self, step: int, *, zero_stage: int = 1, lora: LoraConfig | None = None
    ) -> dict[str, torch.Tensor]:
        """Write a checkpoint as DeepSpeed does at ZeRO 1 and 2; return its weights by their names there."""
        folder, tag = self.path / "checkpoints", f"step-{step:08d}"
        home = checkpoint.prepare(folder, tag)
        policy = load_policy("builtin:tiny-vlm", dtype="float32", lora=lora)
        state = {name: tensor + 0.01 * step for name, tensor in policy.state_dict().items()}
        torch.save({"module": state, "optimizer": None}, home / "mp_rank_00_model_states.pt")
        info = CheckpointInfo(
            tag=tag, step=step, version=step, world_size=1, zero_stage=zero_stage, value=0.625
        )
        checkpoint.commit(folder, info)
        return state


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunMaker]:
    """Make a run's folder of a name."""
    return lambda name="made-1": RunMaker(tmp_path / name)


@pytest.fixture
def run_command() -> Callable[..., Result]:
    """Run `export` with some words."""
    import typer

    from pgpo_async.export.command import export

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(export)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
