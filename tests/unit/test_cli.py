"""Exit codes and what is printed where; the run itself is replaced."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pgpo_async import __version__
from pgpo_async.cli import main
from pgpo_async.contracts import ConfigError, StageFailed

REPOSITORY = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgpo_async", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_missing_config_exits_2_with_one_line():
    done = run("launch", "configs/locl.yaml")
    assert done.returncode == 2
    assert done.stderr == "configs/locl.yaml: no such file, did you mean configs/local.yaml?\n"
    assert done.stdout == ""


def test_each_wrong_field_is_a_line_on_stderr_and_no_traceback(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("train: {max_lag: -1, nun_steps: 3}\n")
    done = run("launch", str(path), "learner.optimizer.lr=fast", "--dry-run")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"{path}:1:18: train.max_lag: must be at least 0, got -1",
        f"{path}:1:22: train.nun_steps: unknown key, did you mean `num_steps`?",
        "override 'learner.optimizer.lr=fast': learner.optimizer.lr: must be a number, got 'fast' (a string)",
    ]


def test_version_is_printed():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"pgpo-async {__version__}\n")


@pytest.fixture
def launch(monkeypatch):
    """Call `pgpo-async launch configs/local.yaml ...` here, `launch_run` replaced; return the exit code."""

    def _launch(launch_run, *arguments: str) -> object:
        fake = ModuleType("pgpo_async.orchestration.launch")
        fake.launch_run = launch_run
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
        monkeypatch.setattr(
            sys, "argv", ["pgpo-async", "launch", str(REPOSITORY / "configs/local.yaml"), *arguments]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    return _launch


def test_launch_hands_over_the_config_and_its_exit_code(launch, monkeypatch, capsys):
    monkeypatch.delenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", raising=False)
    seen = []

    def launch_run(config, *, dry_run, resume):
        seen.append((config.train.num_steps, dry_run, os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"]))
        return 7

    assert launch(launch_run, "train.num_steps=3", "--dry-run", "train.max_lag=0") == 7
    assert seen == [(3, True, "0")]
    warning = "warning: train.max_lag 0: generation waits for each update, so nothing overlaps\n"
    assert capsys.readouterr().err == warning


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (ConfigError(["data.source: a", "data.source: b"]), 2, "data.source: a\ndata.source: b\n"),
        (
            StageFailed("the learner died:\n  out of memory", role="learner"),
            1,
            "error: the learner died: out of memory\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_on_purpose_become_an_exit_code_and_plain_lines(launch, capsys, error, code, printed):
    def launch_run(config, *, dry_run, resume):
        raise error

    assert launch(launch_run) == code
    assert capsys.readouterr().err == printed


def test_an_unexpected_exception_keeps_its_traceback(launch):
    def launch_run(config, *, dry_run, resume):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        launch(launch_run)


def test_plan_without_times_says_which_options_to_give():
    done = run("plan", "configs/local.yaml", "--learn", "0.9")
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "--generate", "--score", "or --from",
    ]  # fmt: skip


def test_plan_prints_a_table_and_warnings_and_writes_its_figures(tmp_path):
    path = tmp_path / "plan.json"
    times = ("--generate", "1", "--score", "0.3", "--learn", "2", "--json", str(path))
    sizes = ("train.groups_per_step=8", "generator.prompts_in_flight=8", "scorer.replicas=4")
    done = run("plan", "configs/local.yaml", *sizes, *times)
    assert done.returncode == 0, done.stderr
    assert "overlap efficiency" in done.stdout
    figures = json.loads(path.read_text())
    assert figures["step_s"] == pytest.approx(2.0)
    (warning,) = figures["warnings"]
    assert f"warning: {warning}" in done.stdout.splitlines()


def test_plan_without_times_estimates_them_for_a_kind_of_gpu(tmp_path):
    path = tmp_path / "plan.json"
    steps = {}
    for gpu in ("h100", "a100"):
        done = run(
            "plan", "configs/cluster.yaml", "--gpu", gpu, "--response-tokens", "400", "--json", str(path)
        )
        assert done.returncode == 0, done.stderr
        assert "assumed: responses of 400 tokens (stated)" in done.stdout
        assert "memory by role" in done.stdout
        figures = json.loads(path.read_text())
        assert (figures["gpu"], figures["does_not_fit"]) == (gpu, [])
        assert figures["estimated_times"] == figures["service_times"]
        steps[gpu] = figures["estimated_times"]["learn_s"]
    assert steps["a100"] > 2 * steps["h100"]


def test_a_stated_time_takes_the_place_of_its_estimate_and_three_need_none(tmp_path):
    path = tmp_path / "plan.json"
    done = run("plan", "configs/cluster.yaml", "--learn", "33", "--json", str(path))
    assert done.returncode == 0, done.stderr
    times = json.loads(path.read_text())["service_times"]
    assert times["learn_s"] == 33
    assert times["generate_s"] > 0 < times["filtered_share"]
    stated = ("--generate", "60", "--score", "60", "--learn", "30")
    run("plan", "configs/cluster.yaml", *stated, "--json", str(path))
    assert json.loads(path.read_text())["service_times"]["filtered_share"] == 0


def test_an_unknown_gpu_exits_2_with_the_nearest_name():
    done = run("plan", "configs/cluster.yaml", "--gpu", "h1000")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--gpu: must be one of a100, ")
    assert done.stderr.endswith("got 'h1000', did you mean h100?\n")


def test_a_dry_run_tells_placement_memory_by_role_and_the_expected_step():
    done = run("launch", "configs/recipes/qwen2.5-vl-7b-pgpo-8gpu.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    told = [
        "placement plan",
        "memory by role",
        "optimizer state",
        "cache of keys and values",
        "staged weights",
    ]
    assert [text for text in told if text not in done.stdout] == []
    assert "assumed: GPU: h100: 79 GiB" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("expected step on h100: ")]
    assert "(busy: generate " in line


def test_a_dry_run_of_what_cannot_be_estimated_says_so_and_succeeds():
    done = run("launch", "configs/local.yaml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "expected step: not estimated" in done.stdout
    done = run("launch", "configs/cluster.yaml", "model.path=someone/unknown", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "memory of the roles: not known, model.path is neither" in done.stdout


def test_a_dry_run_says_what_does_not_fit_and_what_to_change():
    recipe = "configs/recipes/qwen2.5-vl-7b-pgpo-8gpu.yaml"
    done = run("launch", recipe, "learner.replicas=2", "generator.replicas=4", "--dry-run")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("warning: learner: about ")]
    assert "do not fit the 79 GiB of h100; with learner." in line
