"""Memory and times of roles, against numbers worked out by hand; and what is told where nothing fits."""

import json

import pytest

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.planning.activations import layer_numbers, output_bytes
from pgpo_async.orchestration.planning.estimate import estimate
from pgpo_async.orchestration.planning.fitting import device_memory, memory_problems
from pgpo_async.orchestration.planning.gpus import Rates, gpu_kind
from pgpo_async.orchestration.planning.known_models import KNOWN_MODELS, find_shape
from pgpo_async.orchestration.planning.lengths import Lengths, response_lengths
from pgpo_async.orchestration.planning.model_shape import ModelShape
from pgpo_async.orchestration.planning.role_memory import (
    cache_tokens,
    generator_memory,
    learner_memory,
    offloaded_bytes,
    scorer_memory,
)
from pgpo_async.orchestration.planning.sharing import shared_devices
from pgpo_async.orchestration.planning.stage_times import (
    generating,
    learning,
    micro_batches,
    published_bytes,
    scoring,
)
from pgpo_async.orchestration.planning.workload import StatedTokens, Workload, workload

SEVEN_B, THREE_B = KNOWN_MODELS["Qwen2.5-VL-7B"], KNOWN_MODELS["Qwen2.5-VL-3B"]
WEIGHTS = 8_292_166_656
"""Of Qwen2.5-VL-7B, as its files say."""
H100 = gpu_kind("h100")
WORK = Workload(
    group_size=5,
    image_tokens=900.0,
    text_tokens=100.0,
    lengths=Lengths(mean=100.0, longest=100.0, longest_sigma=0.0, square=10_000.0),
    hows=(),
)


def cluster(*overrides):
    return load_config("configs/cluster.yaml", list(overrides))


def parts(memory):
    return {part.what.split(" of ")[0]: part.num_bytes for part in memory.parts}


# Shapes


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976),
        ("Qwen/Qwen2.5-VL-7B-Instruct", WEIGHTS),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696),
    ],
)
def test_known_models_have_the_published_number_of_weights(name, published):
    found = find_shape(name)
    assert found.shape.num_weights == published
    assert "not on this machine" in found.how


def test_a_fine_tuned_copy_is_known_by_the_name_it_kept_and_others_are_not():
    assert find_shape("someone/my-qwen2.5-vl-7b-sft").shape is SEVEN_B
    assert find_shape("someone/other") is None
    assert estimate(cluster("model.path=someone/other")) is None


def test_a_local_model_is_read_from_its_config_whatever_its_name(tmp_path):
    folder = tmp_path / "Qwen2.5-VL-7B"
    folder.mkdir()
    old = {
        "model_type": "qwen2_5_vl",
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 10,
        "tie_word_embeddings": True,
        "vision_config": {
            "depth": 1,
            "hidden_size": 4,
            "intermediate_size": 6,
            "patch_size": 14,
            "fullatt_block_indexes": [0],
        },
    }
    (folder / "config.json").write_text(json.dumps(old))
    found = find_shape(str(folder))
    assert (found.shape.hidden, found.shape.head_dim, found.how) == (8, 4, "as its config.json says")
    (folder / "config.json").write_text(json.dumps({**old, "model_type": "llama"}))
    assert find_shape(str(folder)) is None
    with pytest.raises(ValueError, match=r"model_type must be one of .*, got 'llama'"):
        ModelShape.from_config({**old, "model_type": "llama"})


def test_a_token_of_7b_takes_57344_bytes_of_cache_and_13_gflop():
    # 28 layers x (4 key heads + 4 value heads) x 128 x 2 bytes
    assert 2 * SEVEN_B.cache_numbers == 57_344
    # 2 x 28 x (3584 x 128 x 64 + 3 x 3584 x 18,944)
    assert SEVEN_B.token_flops == 2 * 28 * (29_360_128 + 203_685_888)
    assert SEVEN_B.target_flops == 2 * 152_064 * 3_584


# Memory


def test_zero_3_divides_weights_gradients_and_state_and_zero_1_only_the_state():
    at = {
        stage: parts(learner_memory(cluster(f"learner.zero_stage={stage}"), SEVEN_B, WORK))
        for stage in (1, 2, 3)
    }
    assert (at[3]["weights"], at[3]["sums"], at[3]["optimizer state"]) == (
        2 * WEIGHTS // 8,
        4 * WEIGHTS // 8,
        12 * WEIGHTS // 8,
    )
    assert (at[2]["weights"], at[2]["sums"]) == (2 * WEIGHTS, 4 * WEIGHTS // 8)
    assert (at[1]["weights"], at[1]["sums"], at[1]["optimizer state"]) == (
        2 * WEIGHTS,
        4 * WEIGHTS,
        12 * WEIGHTS // 8,
    )


def test_an_offloaded_optimizer_is_on_the_host_with_its_gradients():
    config = cluster("learner.offload_optimizer=true")
    assert not {"sums", "optimizer state"} & parts(learner_memory(config, SEVEN_B, WORK)).keys()
    assert offloaded_bytes(config, SEVEN_B) == 16 * WEIGHTS
    assert offloaded_bytes(cluster(), SEVEN_B) == 0


def test_a_frozen_tower_has_no_gradients():
    frozen = parts(learner_memory(cluster("model.train_vision_tower=false"), SEVEN_B, WORK))
    assert frozen["sums"] == 4 * (WEIGHTS - 676_550_144) // 8


def test_adapters_alone_have_gradients_state_and_a_way_to_the_generators():
    config = cluster("model.lora.rank=16", "model.train_vision_tower=false")
    # 28 layers x 16 x (q 7168 + k, v 8192 + o 7168 + gate, up 45,056 + down 22,528)
    adapters = 40_370_176
    memory = parts(learner_memory(config, SEVEN_B, WORK))
    assert memory["sums"] == 4 * adapters // 8
    assert memory["optimizer state"] == 12 * adapters // 8
    assert memory["weights"] == 2 * WEIGHTS // 8
    assert published_bytes(config, SEVEN_B) == 2 * adapters
    assert published_bytes(cluster(), SEVEN_B) == 2 * WEIGHTS
    plain = cluster("model.lora.rank=16", "learner.activation_checkpointing=false")
    text = WORK.text_flops(SEVEN_B, 1000, 5)
    tower, output = WORK.tower_flops(SEVEN_B), WORK.output_flops(SEVEN_B)
    assert WORK.learning_flops(SEVEN_B, plain) == pytest.approx(2 * text + tower + 3 * output)


def test_checkpointing_keeps_a_layers_input_in_place_of_all_it_works_with():
    work = workload(cluster(), SEVEN_B, StatedTokens(image=0.0))
    # 16,384 tokens x 2 bytes x (28 inputs of 3,584 and one layer twice)
    layer = 4 * 3_584 + 2 * 3_584 + 2 * 512 + 3 * 18_944
    assert layer_numbers(SEVEN_B) == layer
    kept = parts(learner_memory(cluster(), SEVEN_B, work))["activations"]
    assert kept == 16_384 * 2 * (28 * 3_584 + 2 * layer)
    without = learner_memory(cluster("learner.activation_checkpointing=false"), SEVEN_B, work)
    assert parts(without)["activations"] == 16_384 * 2 * 28 * layer


def test_an_update_counts_where_it_takes_more_than_the_pass():
    config = cluster("learner.replicas=1", "learner.zero_stage=1", "learner.micro_batch_tokens=1024")
    found = parts(learner_memory(config, THREE_B, WORK))
    working = found["activations"] + found["slices"]
    assert found["update, beyond what the pass has freed"] == 8 * THREE_B.num_weights - working
    assert "update, beyond what the pass has freed" not in parts(learner_memory(cluster(), SEVEN_B, WORK))


def test_the_cache_is_what_the_engines_share_leaves():
    config = cluster()
    memory = generator_memory(config, SEVEN_B, WORK, H100)
    assert memory.num_bytes == pytest.approx(0.9 * 79 * 2**30, abs=100)
    found = parts(memory)
    assert found["weights"] == 2 * WEIGHTS
    assert cache_tokens(memory, config, SEVEN_B) == found["cache"] // 57_344
    stated = cluster("generator.engine.kv_cache_memory_bytes=57344000")
    assert cache_tokens(generator_memory(stated, SEVEN_B, WORK, H100), stated, SEVEN_B) == 1000


def test_two_gpus_of_one_engine_share_its_weights():
    config = cluster("generator.gpus=2", "generator.engine.tensor_parallel_size=2")
    assert parts(generator_memory(config, SEVEN_B, WORK, H100))["weights"] == WEIGHTS


def test_a_reference_is_a_second_copy_in_the_scorer():
    one = parts(scorer_memory(cluster(), SEVEN_B, WORK))
    two = parts(scorer_memory(cluster("algorithm.kl_coef=0.1"), SEVEN_B, WORK))
    assert (one["weights"], two["weights"]) == (2 * WEIGHTS, 4 * WEIGHTS)
    assert one["slices"] == output_bytes(SEVEN_B, on_gpu=True) == 3 * 4 * 2**26


# What shares a GPU


def test_fractions_are_put_together_and_whole_gpus_are_alone():
    small = ["scorer.replicas=1", "scorer.gpus=0.3", "learner.replicas=2", "learner.gpus=0.7"]
    assert shared_devices(cluster("generator.replicas=2", *small)) == {
        ("generator",): 2,
        ("learner", "scorer"): 1,
        ("learner",): 1,
    }
    lone = cluster("generator.gpus=2", "generator.replicas=1", "scorer.gpus=0.5", "learner.replicas=1")
    assert shared_devices(lone) == {("generator",): 1, ("scorer", "scorer"): 1, ("learner",): 1}
    assert shared_devices(load_config("configs/local.yaml")) == {}


def test_actors_on_one_gpu_are_added_up():
    config = cluster("scorer.replicas=1", "scorer.gpus=0.3", "learner.gpus=0.7", "learner.replicas=1")
    (shared,) = [d for d in device_memory(config, SEVEN_B, WORK, H100) if len(d.roles) > 1]
    each = learner_memory(config, SEVEN_B, WORK).num_bytes + scorer_memory(config, SEVEN_B, WORK).num_bytes
    assert (shared.num_gpus, shared.num_bytes) == (1, each)


@pytest.mark.parametrize(
    ("overrides", "gpu", "told"),
    [
        (["learner.zero_stage=1", "learner.replicas=4"], "h100", "h100; with learner.zero_stage=3 it"),
        (
            ["learner.replicas=2", "learner.micro_batch_tokens=6144"],
            "h100",
            "with learner.offload_optimizer=true",
        ),
        (["learner.activation_checkpointing=false"], "h100", "with learner.activation_checkpointing=true it"),
        (["learner.replicas=1", "learner.zero_stage=1"], "a100-40gb", "no one field mends it"),
        (["scorer.pass_tokens=400000"], "h100", "with scorer.pass_tokens="),
        (
            ["generator.gpus=0.5", "scorer.gpus=0.5", "generator.replicas=2"],
            "h100",
            "with generator.engine.gpu_memory_utilization=0.5",
        ),
        (["learner.replicas=12"], "a100-40gb", None),
    ],
)
def test_what_does_not_fit_is_told_with_what_mends_it(overrides, gpu, told):
    config = cluster(*overrides)
    work = workload(config, SEVEN_B, StatedTokens())
    problems = list(memory_problems(config, SEVEN_B, work, gpu_kind(gpu)))
    assert [told in text for text in problems] == ([True] if told else [])


def test_a_cache_too_small_for_one_sequence_is_told_by_its_field():
    (told,) = estimate(cluster("generator.engine.gpu_memory_utilization=0.2")).problems
    assert told.startswith("generator.engine.gpu_memory_utilization: the cache of ")
    assert "holds no sequence of 6,144" in told


# Times


def test_a_decoding_step_reads_the_weights_and_each_sequences_cache():
    config = cluster("generator.prompts_in_flight=1")
    timed = generating(config, SEVEN_B, WORK, H100, Rates(decode_s=0.006))
    read = 2 * (28 * 233_046_016 + 152_064 * 3_584) + 5 * (1000 + 50) * 57_344
    step_s = read / (3350e9 * 0.5) + 0.006
    prefill = 1000 * SEVEN_B.token_flops + 1000**2 / 2 * SEVEN_B.pair_flops + SEVEN_B.image_flops(900)
    assert timed.seconds == pytest.approx(100 * step_s + prefill / (989e12 * 0.3))
    assert "5 sequences side by side in an engine (bound by generator.prompts_in_flight)" in timed.how


def test_sequences_side_by_side_are_bound_by_what_the_engine_allows_or_has_room_for():
    few = cluster("generator.engine.max_num_seqs=8")
    assert "8 sequences" in generating(few, SEVEN_B, WORK, H100, Rates()).how
    tight = cluster("generator.engine.kv_cache_memory_bytes=573440000")  # 10,000 tokens
    # A group takes 1,000 + 5 x 50: 8 groups, 40 sequences.
    assert (
        "40 sequences side by side in an engine (bound by the cache)"
        in generating(tight, SEVEN_B, WORK, H100, Rates()).how
    )


def test_a_share_of_a_gpu_is_that_share_of_its_time():
    whole, half = cluster("scorer.gpus=1"), cluster("scorer.gpus=0.5")
    times = [scoring(config, SEVEN_B, WORK, H100, Rates()).seconds for config in (whole, half)]
    assert times[1] == pytest.approx(2 * times[0])


def test_a_scorer_runs_the_passes_that_its_method_asks_for():
    def flops(*overrides):
        return WORK.scoring_flops(SEVEN_B, cluster("algorithm.shaper.params={}", *overrides))

    sighted = WORK.sighted_flops(SEVEN_B)
    blind = WORK.text_flops(SEVEN_B, 100, 5) + WORK.output_flops(SEVEN_B)
    alone = WORK.text_flops(SEVEN_B, 1000, 1) + WORK.tower_flops(SEVEN_B)
    assert flops() == pytest.approx(sighted + blind)
    assert flops("algorithm.kl_coef=0.1") == pytest.approx(2 * sighted + blind)
    assert flops("algorithm.shaper.name=pepo") == pytest.approx(sighted)
    masked = 5 * alone + WORK.output_flops(SEVEN_B)
    assert flops("algorithm.shaper.name=vppo") == pytest.approx(sighted + masked)
    measured = flops("algorithm.shaper.name=none", "algorithm.dependency.measure=always")
    assert measured == pytest.approx(sighted + blind)


def test_a_step_is_three_passes_or_four_with_recomputation_and_two_looks_for_papo():
    text = WORK.text_flops(SEVEN_B, 1000, 5)
    tower, output = WORK.tower_flops(SEVEN_B), WORK.output_flops(SEVEN_B)
    plain = cluster("learner.activation_checkpointing=false")
    assert WORK.learning_flops(SEVEN_B, plain) == pytest.approx(3 * (text + tower) + 4 * output)
    assert WORK.learning_flops(SEVEN_B, cluster()) == pytest.approx(4 * (text + tower + output))
    frozen = cluster("model.train_vision_tower=false")
    assert WORK.learning_flops(SEVEN_B, frozen) == pytest.approx(4 * text + tower + 4 * output)
    papo = cluster("algorithm.shaper={name: papo}")
    assert WORK.learning_flops(SEVEN_B, papo) == pytest.approx(8 * (text + tower + output))


def test_a_slow_link_bounds_zero_3_and_a_host_that_updates_takes_its_time():
    config = cluster()
    # 1,500 tokens a group, 10 groups of a budget of 16,384: 16 groups of a rank are 2 micro-batches.
    assert micro_batches(config, WORK) == 2
    slow = learning(config, SEVEN_B, WORK, gpu_kind("l40s"), Rates(link=0.001)).seconds
    sent = 2 * (2 * 2 * WEIGHTS + 2 * WEIGHTS) * 7 / 8
    assert slow == pytest.approx(sent / (32e9 * 0.001), rel=0.01)
    on_host = learning(cluster("learner.offload_optimizer=true"), SEVEN_B, WORK, H100, Rates()).seconds
    added = on_host - learning(config, SEVEN_B, WORK, H100, Rates()).seconds
    assert added == pytest.approx(WEIGHTS / 0.6e9 + 6 * WEIGHTS / 8 / 20e9, rel=0.01)


def test_the_longest_of_a_group_is_longer_than_the_mean_and_never_above_the_limit():
    found = response_lengths(512, 2048, 5)
    assert found.mean == pytest.approx(512, rel=0.01)
    # E[X^2] of a log-normal is its mean squared times exp(sigma^2); the cut takes a little.
    assert found.square == pytest.approx(512**2 * 1.284, rel=0.02)
    assert 1.5 * 512 < found.longest < 2 * 512
    assert response_lengths(512, 2048, 1).longest == pytest.approx(found.mean)
    cut = response_lengths(4000, 2048, 5)
    assert cut.mean < cut.longest <= 2048
    assert response_lengths(512, 2048, 5, sigma=0).longest == 512


# What is told


def test_tokens_that_are_stated_take_the_place_of_what_is_taken_to_be_so():
    work = workload(cluster(), SEVEN_B, StatedTokens(response=300, image=640, text=80))
    assert (work.image_tokens, work.text_tokens) == (640, 80)
    assert sum("stated" in how for how in work.hows) == 3
    assert workload(cluster(), SEVEN_B, StatedTokens()).image_tokens == 1280
    assert workload(cluster(), KNOWN_MODELS["Qwen3-VL-8B"], StatedTokens()).image_tokens == 980


def test_an_unknown_gpu_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"--gpu: must be one of .*, got 'h10', did you mean h100\?"):
        gpu_kind("h10")


def test_a_run_without_gpus_has_memory_but_no_times():
    found = estimate(load_config("configs/local.yaml"))
    assert (found.stages, list(found.devices), found.problems) == (None, [], ())
    assert {memory.role: memory.gpus for memory in found.roles} == {"generator": 0, "scorer": 0, "learner": 0}
    assert not any("GPU" in line for line in found.assumptions)
    json.dumps(found.as_json())
