"""The trackers themselves, as installed: TensorBoard files, W&B offline, an MLflow file store."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from pgpo_async.config.observing import MetricsConfig
from pgpo_async.contracts import (
    ConfigError,
    Prompt,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    VersionSpan,
    encode,
)
from pgpo_async.metrics import sinks as sinks_module
from pgpo_async.metrics import trackers
from pgpo_async.metrics.sample_rows import sample_rows
from pgpo_async.metrics.sinks import SinkWriter
from pgpo_async.metrics.trackers import check_sinks, make_sinks

FLAT = {"step": 3, "learner/loss": -0.5, "reward": None, "groups": ["g1"], "pipeline/busy_learn": 0.9}


def payload(image=b"", texts=("red", "blue")):
    rollouts = tuple(
        Rollout(
            response_token_ids=np.array([1], np.int32),
            behaviour_logprobs=np.array([-1.0], np.float32),
            version_spans=(VersionSpan(version=0, start=0, end=1),),
            finish_reason="stop",
            text=text,
            reward=float(text == "red"),
            reward_parts={"accuracy": float(text == "red")},
        )
        for text in texts
    )
    images = (image,) if image else ()
    prompt = Prompt(prompt_id="p", question="which colour?", answer="red", images=images)
    group = RolloutGroup(
        group_id="g1", prompt=prompt, prompt_token_ids=np.array([1], np.int32), rollouts=rollouts
    )
    return encode(ScoredGroup.unscored(group))


def picture():
    buffer = io.BytesIO()
    Image.new("RGBA", (900, 300), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_rows_hold_a_thumbnail_and_every_response():
    first, second = sample_rows([payload(picture())])
    assert (first.response, first.reward, second.response, second.reward) == ("red", 1.0, "blue", 0.0)
    assert first.reference == "red"
    assert (first.image.mode, max(first.image.size)) == ("RGB", 256)
    (row, _) = sample_rows([payload(b"no picture")])
    assert row.image is None


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Tell one tracker of a step and samples; return what was said of its failures."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("HOME", str(tmp_path))

    def tell(**options):
        said = []
        config = MetricsConfig(**options)
        check_sinks(config)
        writer = SinkWriter(make_sinks(config, "run-1", tmp_path, {"train": {"num_steps": 9}}), said.append)
        writer.step(3, FLAT)
        writer.samples(3, [payload(picture())])
        writer.close()
        return said

    return tell


def test_mlflow_has_the_step_the_config_and_the_table(told, tmp_path):
    import mlflow

    store = (tmp_path / "mlruns").as_uri()
    assert told(mlflow={"tracking_uri": store, "experiment_name": "demo"}) == []
    client = mlflow.MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "demo"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run-1"
    assert run.data.metrics == {"step": 3, "learner/loss": -0.5, "pipeline/busy_learn": 0.9}
    assert "config.json" in {item.path for item in client.list_artifacts(run.info.run_id)}
    samples = {item.path for item in client.list_artifacts(run.info.run_id, "samples")}
    assert samples == {"samples/step-00000003.json", "samples/step-00000003-0.png"}


def test_wandb_writes_its_offline_run(told, tmp_path):
    assert told(wandb={"project": "demo", "mode": "offline"}) == []
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline_s = time.monotonic() + 60
    while b"learner/loss" not in record.read_bytes():  # its own process may write a moment longer
        assert time.monotonic() < deadline_s
        time.sleep(0.2)


def test_tensorboard_has_the_step_and_the_picture(told, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert told(tensorboard=True) == []
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Scalars("learner/loss")[0].value == -0.5
    assert events.Images("samples/0")[0].width == 256


def test_a_tracker_that_is_not_installed_is_named_with_its_field_before_anything_starts(monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as refused:
        check_sinks(MetricsConfig(wandb={}, tensorboard=True))
    assert [issue.split(":")[0] for issue in refused.value.issues] == ["metrics.tensorboard", "metrics.wandb"]


def test_a_tracker_that_cannot_be_opened_is_a_wrong_config(told):
    with pytest.raises(ConfigError, match=r"metrics\.mlflow: cannot be opened: .*nowhere"):
        told(mlflow={"tracking_uri": "nowhere://x", "experiment_name": "demo"})


class Failing:
    def __init__(self):
        self.steps = 0

    def step(self, *_):
        self.steps += 1
        raise OSError("no route to host")

    def samples(self, step, rows): ...

    def close(self): ...


def test_a_tracker_that_fails_is_told_of_once_and_harms_nobody():
    said, failing, good = [], Failing(), Counting()
    writer = SinkWriter({"wandb": failing, "mlflow": good}, said.append)
    for step in range(5):
        writer.step(step, FLAT)
    writer.close()
    assert failing.steps == 1
    assert good.steps == [0, 1, 2, 3, 4]
    assert said == ["warning: wandb failed and is told nothing more: OSError('no route to host')"]


class Counting:
    def __init__(self):
        self.steps, self.gate = [], threading.Event()
        self.gate.set()

    def step(self, step, values):
        self.gate.wait(30)
        assert values == {"step": 3.0, "learner/loss": -0.5, "pipeline/busy_learn": 0.9}
        self.steps.append(step)

    def samples(self, step, rows): ...

    def close(self): ...


def test_a_tracker_that_is_slow_holds_up_nobody_and_what_it_missed_is_said(monkeypatch):
    monkeypatch.setattr(sinks_module, "MAX_WAITING", 8)
    said, slow = [], Counting()
    slow.gate.clear()
    writer = SinkWriter({"slow": slow}, said.append)
    for step in range(50):
        writer.step(step, FLAT)  # returns at once, or this test would hang
    slow.gate.set()
    writer.close()
    assert len(slow.steps) + writer.num_dropped == 50
    assert writer.num_dropped >= 40
    assert "were dropped" in said[0]
