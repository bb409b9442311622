"""What the planner predicts, what it asks for, and what it warns of."""

import json
import struct
from dataclasses import asdict

import pytest

from pgpo_async.config import dump_config, load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.planning.plan_inputs import (
    Size,
    differences,
    group_size,
    model_size,
    service_times,
)
from pgpo_async.orchestration.planning.plan_memory import plan_memory
from pgpo_async.orchestration.planning.planner import make_plan
from pgpo_async.orchestration.service_times import ServiceTimes

TIMES = ServiceTimes(generate_s=1.0, score_s=0.3, learn_s=2.0)
KIB = Size(num_bytes=1024, how="stated")


def local(*overrides):
    sizes = ["train.groups_per_step=8", "generator.prompts_in_flight=8"]
    return load_config("configs/local.yaml", [*sizes, *overrides])


def plan(*overrides, times=TIMES, group=KIB, model=KIB, **other):
    return make_plan(local(*overrides), times, group=group, model=model, **other)


def warned(found, start):
    return [text for text in found.warnings if text.startswith(start)]


# The prediction


def test_a_learner_bound_run_is_predicted_with_the_keys_of_the_design():
    figures = plan().as_json()
    assert figures["step_s"] == pytest.approx(2.0)
    assert figures["busy_share"] == pytest.approx({"generate": 0.5, "score": 0.15, "learn": 1.0})
    assert figures["overlap_efficiency"] == pytest.approx(1.0)
    assert figures["learner_wait_fraction"] == pytest.approx(0.0, abs=1e-9)
    assert figures["rollouts_per_s"] == pytest.approx(8 * 8 / 2.0)
    assert 1.0 < figures["lag_mean"] <= figures["lag_max"] == 2
    assert figures["best_split"] is None
    json.dumps(figures, allow_nan=False)


def test_memory_is_that_of_the_versions_kept_and_the_slots():
    config = local("weights.keep_versions=3")
    in_time = plan_memory(config, TIMES, step_s=2.0, group_bytes=10, model_bytes=100)
    assert (in_time.staged_bytes, in_time.snapshot_bytes) == (400, 200)
    assert (in_time.queue_bytes, in_time.weight_store_bytes, in_time.object_store_bytes) == (240, 400, 640)
    slow = ServiceTimes(generate_s=1.0, score_s=0.3, learn_s=2.0, publish_s=5.0)
    assert plan_memory(config, slow, step_s=2.0, group_bytes=10, model_bytes=100).snapshot_bytes == 400


def test_the_best_split_gives_most_gpus_to_the_stage_that_needs_them():
    times = ServiceTimes(generate_s=2.0, score_s=1.0, learn_s=6.0)
    splits = plan("generator.prompts_in_flight=4", "train.max_lag=3", times=times, num_gpus=8).splits
    best = splits[0]
    # 4 s of generation, 1 s of scoring, 6 s of learning: 8 GPUs of work for 11 s, the nearest whole split.
    assert (best.generator, best.scorer, best.learner, best.gpus) == (3, 1, 4, 8)
    assert best.slowest_s == pytest.approx(1.5)
    assert best.step_s <= min(split.step_s for split in splits) * 1.011
    assert len(splits) == 5


def test_without_scorers_none_gets_a_gpu():
    splits = plan("algorithm.shaper.name=none", num_gpus=4).splits
    assert {split.scorer for split in splits} == {0}


def test_fewer_gpus_than_roles_are_refused():
    with pytest.raises(ConfigError, match="--gpus: must be at least 3, one replica of each role, got 2"):
        plan(num_gpus=2)


# Warnings


def test_a_config_that_wastes_nothing_is_not_warned_of():
    assert plan().warnings == []


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["queue.max_bytes=16384"], "queue.max_bytes 16,384 is below what admission lets in: 24 groups"),
        (["queue.max_groups=12"], "queue.max_groups 12 is below the 24 groups"),
        (["ray.object_store_bytes=20000"], "ray.object_store_bytes 20,000 is below the 27,648 bytes"),
        (["train.batch_timeout_s=1"], "train.batch_timeout_s 1 is below the longest wait for a batch, 1 s"),
        (["mode=sync"], "mode sync: the stages take turns, so a step takes 3.3 s where"),
        (["mode=sync", "scorer.replicas=2"], "scorer.groups_per_lease 8: a batch of 8 groups is 1 leases"),
        (["scorer.replicas=4"], "scorer.replicas 4: busy 4% of the time, 4% of what the slowest stage is: 1"),
        (["generator.replicas=4"], "generator.prompts_in_flight times generator.replicas is 32"),
        (["generator.prompts_in_flight=20"], "generator.prompts_in_flight: the engines have room for 20"),
        (["train.max_lag=0"], "train.max_lag 0"),
    ],
)
def test_what_does_not_fit_is_warned_of_by_its_field(overrides, told):
    assert len(warned(plan(*overrides), told)) == 1


def test_slots_that_cannot_hold_what_the_pace_needs_are_warned_of_with_the_field_to_blame():
    times = ServiceTimes(generate_s=6.0, score_s=0.3, learn_s=2.0)
    full = "generator.prompts_in_flight=32"
    (told,) = warned(plan(full, times=times), "train.max_lag 2 allows 24 admission slots")
    assert "Little's law asks for 33 at the pace of the slowest stage: 24 being generated" in told
    (told,) = warned(
        plan(full, "train.max_lag=4", "train.order_window=12", times=times), "train.order_window 12 leaves"
    )
    assert "leaves 28 admission slots" in told
    assert not warned(plan(full, "train.max_lag=4", times=times), "train.max_lag")


def test_a_window_that_makes_the_learner_wait_for_stragglers_is_warned_of_with_what_it_costs():
    times = ServiceTimes(generate_s=2.0, score_s=0.3, learn_s=2.0, generate_sigma=1.0)
    (told,) = warned(plan("train.order_window=0", times=times), "train.order_window 0: the learner waits")
    assert told.endswith("s")
    constant = ServiceTimes(generate_s=2.0, score_s=0.3, learn_s=2.0)
    assert not warned(plan("train.order_window=0", times=constant), "train.order_window 0: the learner")


def test_groups_made_in_vain_are_warned_of():
    times = ServiceTimes(generate_s=4.0, score_s=0.3, learn_s=1.0, generate_sigma=1.5)
    assert warned(plan("train.max_lag=1", times=times), "train.max_lag 1: ")


def test_a_run_that_would_stand_still_is_refused_with_its_reason():
    with pytest.raises(ConfigError) as caught:
        plan("queue.max_bytes=4000")
    assert any("queue.max_bytes 4,000 is below a batch" in issue for issue in caught.value.issues)
    assert "the run would stand still: nothing can happen any more" in caught.value.issues[-1]
    assert "batch waits for 8 scored groups" in caught.value.issues[-1]


# What it is told


def test_all_missing_times_are_asked_for_at_once_by_their_options():
    with pytest.raises(ConfigError) as caught:
        service_times(local(), {"learn_s": 1.0}, None)
    assert [issue.split(":")[0] for issue in caught.value.issues] == ["--generate", "--score", "or --from"]
    times = service_times(local("algorithm.shaper.name=none"), {"generate_s": 1.0, "learn_s": 1.0}, None)
    assert times.score_s == 0.0


def test_times_that_make_no_sense_are_refused():
    stated = {"generate_s": 1.0, "score_s": 1.0, "learn_s": 1.0}
    with pytest.raises(ConfigError, match="filtered_share must be below 1, got 1"):
        service_times(local(), {**stated, "filtered_share": 1.0}, None)
    with pytest.raises(ConfigError, match="must be above 0, got 0 for all"):
        service_times(local(), dict.fromkeys(stated, 0.0), None)


@pytest.fixture
def run_folder(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"steps": 4, "service_times": asdict(TIMES)}))
    (tmp_path / "config.yaml").write_text(dump_config(local("generator.prompts_in_flight=16")))
    return tmp_path


def test_measured_times_are_read_from_a_run_and_stated_ones_take_their_place(run_folder):
    assert service_times(local(), {"generate_s": None}, run_folder) == TIMES
    changed = service_times(local(), {"learn_s": 5.0}, run_folder / "summary.json")
    assert (changed.learn_s, changed.generate_s) == (5.0, 1.0)


def test_times_measured_with_another_config_are_taken_with_a_warning(run_folder):
    (told,) = differences(local(), run_folder)
    assert told.startswith("generator.prompts_in_flight is 8, but the times were measured with 16")
    assert differences(local("generator.prompts_in_flight=16"), run_folder / "summary.json") == []


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        ({"steps": 4}, "must have the key service_times"),
        ({"service_times": None}, "must have the key service_times"),
        ({"service_times": {"generate_s": 1.0}}, r"must have generate_s, score_s, .*got \['generate_s'\]"),
        ([], "must have the key service_times"),
    ],
)
def test_a_summary_without_times_is_refused(tmp_path, summary, told):
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ConfigError, match=told):
        service_times(local(), {}, tmp_path)


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--from: must be a run's folder"):
        service_times(local(), {}, tmp_path)


# Sizes


def test_the_demo_model_is_measured_by_its_headers():
    size = model_size(local(), None, None)
    assert size.how == f"{size.num_bytes // 4:,} weights in float32"
    assert model_size(local("model.dtype=bfloat16"), None, None).num_bytes == size.num_bytes // 2


def test_the_weights_of_all_shards_are_counted(tmp_path):
    for name, shape in (("a", [2, 3]), ("b", [5]), ("c", [])):
        header = {"__metadata__": {}, name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}}
        text = json.dumps(header).encode()
        (tmp_path / f"model-{name}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert model_size(local(f"model.path={tmp_path}"), None, None).num_bytes == 4 * (6 + 5 + 1)


def test_a_model_that_is_not_here_is_asked_for(tmp_path):
    hub = "model.path=someone/unknown"
    with pytest.raises(ConfigError, match="--parameters: must be given"):
        model_size(local(hub), None, None)
    assert model_size(local(hub, "model.dtype=bfloat16"), None, 8e9).num_bytes == 16_000_000_000
    assert model_size(local(hub), 123, None).num_bytes == 123
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match="the headers of its safetensors cannot be read"):
        model_size(local(f"model.path={tmp_path}"), None, None)


def test_a_group_is_estimated_at_its_limits_with_the_images_of_the_source():
    size = group_size(local(), None)
    assert 8 * 32 * 24 + 4 * 256 < size.num_bytes < 8 * 32 * 24 + 4 * 256 + 1000
    assert "8 responses of 32 tokens at 24 bytes" in size.how
    unscored = group_size(local("algorithm.shaper.name=none"), None)
    assert size.num_bytes - unscored.num_bytes == 8 * 32 * 12
    missing = group_size(local("data.source=nowhere.parquet", "model.max_pixels=5000"), None)
    assert missing.num_bytes == 8 * 32 * 24 + 4 * 256 + 5000
    assert group_size(local(), 77) == Size(num_bytes=77, how="stated")
