import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pgpo_async.compare.curves import RunCurves, read_run
from pgpo_async.compare.report import write_report
from pgpo_async.config import CompareConfig

NUM_STEPS = 8


def step_line(step: int, accuracy: float, /, **changes: float) -> dict[str, float]:
    """A line of metrics.jsonl; training began at clock 1000 and a step takes 2 seconds."""
    values = {
        "step": step,
        "accuracy": accuracy,
        "reward": accuracy,
        "step_s": 2.0,
        "time_s": 1000.0 + 2.0 * step,
        "learner/entropy": 2.0 - 0.1 * step,
        "learner/dependency_mean": 0.25,
        "learner/weight_max": 1.0 + step,
        "learner/advantage_top_share": 0.5,
    }
    if step in (1, 4):  # the variance is not estimated at every step
        values |= {
            "learner/grad_variance": 4.0 if step == 1 else 1.0,
            "learner/grad_variance_unshaped": 1.0,
            "learner/grad_snr": 0.5,
            "learner/grad_snr_unshaped": 0.2,
        }
    return values | changes


def write_run(
    parent: Path, method: str, seed: int, *, start: float = 0.1, after: float | None = 0.8,
    status: str = "completed", **changes: float,
) -> RunCurves:  # fmt: skip
    """Write a run's folder, its accuracy rising by a tenth a step from `start`, and read it."""
    folder = parent / f"{method}-seed{seed}"
    folder.mkdir()
    rows = [step_line(step, start + 0.1 * (step - 1), **changes) for step in range(1, NUM_STEPS + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"status": status, "accuracy_before": 0.2, "accuracy_after": after, "train_s": 16.0}
    (folder / "summary.json").write_text(json.dumps(summary))
    return read_run(method, seed, folder)


def write_runs(parent: Path) -> list[RunCurves]:
    return [
        write_run(parent, "grpo", 0, after=0.5),
        write_run(parent, "pgpo", 0, after=0.6, start=0.2),
        write_run(parent, "grpo", 1, after=0.7),
        write_run(parent, "pgpo", 1, after=0.9, start=0.2),
    ]


COMPARE = CompareConfig(
    name="a & b <c>",
    base="local.yaml",
    seeds=(0, 1),
    common={"train.num_steps": NUM_STEPS},
    methods={"grpo": {"algorithm.shaper.name": "none"}, "pgpo": {"data.instruction": "<script>|$x$"}},
)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunCurves]:
    return lambda *arguments, **changes: write_run(tmp_path, *arguments, **changes)


@pytest.fixture
def compare() -> CompareConfig:
    return COMPARE


@pytest.fixture
def runs(tmp_path: Path) -> list[RunCurves]:
    """Two methods with two seeds; grpo is at 0.5 and 0.7 in the end, pgpo at 0.6 and 0.9."""
    return write_runs(tmp_path)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of `runs`."""
    path = tmp_path_factory.mktemp("compare")
    write_report(path / "report", COMPARE, write_runs(path))
    return path / "report"
