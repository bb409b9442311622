"""The benchmark compares like with like, counts what it says, and refuses what it cannot measure."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from pgpo_async.bench.head import measure_head
from pgpo_async.bench.models import TINY, BenchModel, random_group, random_model
from pgpo_async.bench.options import Options
from pgpo_async.bench.plain import PlainRollout
from pgpo_async.bench.policy import bench_policy
from pgpo_async.bench.policy_table import table
from pgpo_async.bench.timing import PeakMemory, medians
from pgpo_async.contracts import ConfigError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model() -> BenchModel:
    torch.set_num_threads(1)
    return random_model(replace(TINY, hidden=64, layers=2), dtype=torch.float32, device=CPU)


def test_the_plain_way_computes_the_same_log_probs_and_gradients(model: BenchModel) -> None:
    group = random_group(model, image_tokens=300, text_tokens=9, responses=[6, 3, 1])
    rollouts = [PlainRollout(model, group, i) for i in range(3)]
    for blind in (False, True):
        ours = model.policy(model.collator([group], blind=blind)).logprobs
        plain = torch.cat([r.blind() if blind else r.sighted() for r in rollouts])
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
    model.policy(model.collator([group])).logprobs.sum().backward()
    sum(rollout.sighted().sum() for rollout in rollouts).backward()  # type: ignore[union-attr]
    theirs = dict(model.stock.named_parameters())
    for name, parameter in model.policy.hf_named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-3, atol=1e-4)


def test_the_figures_have_the_names_that_others_read() -> None:
    figures = bench_policy(
        Options(models=("tiny",), image_tokens=(300,), repeats=1, device="cpu", head=False)
    )
    for key in ("blind_over_sighted", "group_score_ratio", "group_step_ratio"):
        assert 0 < figures[key]["300"] < 1, key
    assert figures["exact_over_k3"] > 0
    assert figures["models"]["tiny"]["300"]["share_of_peak"]["sighted"] < 1
    assert json.loads(json.dumps(figures)) == figures
    heading, *rows = table(figures)
    assert {len(row) for row in rows} == {len(heading)}


def test_the_head_by_slices_takes_less_memory_than_the_whole_matrix_of_logits() -> None:
    figures = measure_head(CPU, tokens=2048, hidden=64, vocabulary=40_000)
    assert figures.full_bytes > 2 * 2048 * 40_000 * 4
    assert figures.peak_ratio < 1 / 4


def test_memory_of_a_moment_is_seen_and_ways_take_turns() -> None:
    with PeakMemory(CPU) as memory:
        torch.ones(64 << 18).add_(1).sum()
    assert 0.8 < memory.extra_bytes / (64 << 20) < 3
    order: list[str] = []
    note = {name: partial(order.append, name) for name in "abcd"}
    found = medians({"x": note["a"]}, {"y": [note["b"], note["c"], note["d"]]}, repeats=2, device=CPU)
    assert set(found) == {"x", "y"}
    assert order == list("bacda") * 2


def test_all_wrong_options_are_told_at_once_with_what_is_allowed() -> None:
    with pytest.raises(ConfigError) as refused:
        Options(models=("huge",), image_tokens=(7,), peer="verl", attention="fast", device="tpu")
    assert list(refused.value.issues) == [
        "--model: must be one of tiny, 3b-like, 3b, got huge",
        "--images: must be one of 300, 1280, got 7",
        "--device: must be one of cpu, cuda, got tpu",
        "--attention: must be one of auto, flash, math, got fast",
        "--peer: must be one of trl, got verl",
    ]


def test_the_command_exits_2_for_a_folder_that_is_not_there_before_it_measures(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pgpo_async", "bench", "policy", "--json", str(tmp_path / "no" / "f.json")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr == f"--json: the folder {tmp_path / 'no'} must exist\n"


def test_the_benchmark_needs_neither_ray_nor_vllm_nor_deepspeed() -> None:
    heavy = "('ray', 'vllm', 'deepspeed', 'trl')"
    code = f"import sys, pgpo_async.bench.policy_table; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"
