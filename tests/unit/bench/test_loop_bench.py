"""The bench of a whole run: CPU time by what a process is for, its peer's pace beside ours."""

from pathlib import Path
from types import SimpleNamespace

from rich.console import Console
from typer.testing import CliRunner

from pgpo_async.bench.loop import _role
from pgpo_async.bench.loop_table import show
from pgpo_async.cli import app

FIGURES = {
    "step_s": 2.0,
    "rollouts_per_s": 128.0,
    "rollouts_per_step": 256,
    "response_tokens": 20.5,
    "learner_wait_fraction": 0.25,
    "lag_mean": 1.5,
    "num_steps": 20,
    "num_cpus": 2,
    "cpu_s_per_step": {"generator": 1.5, "scorer": 0.5, "learner": 1.0},
    "scorer_cpu_share": 0.5 / 3,
}
PEER = {"name": "TRL 1", "micro_batch": 64, "step_s": 3.0, "response_tokens": 21.0, "steps_s": [3.0, 3.25]}


def process(pid, *parents):
    return SimpleNamespace(pid=pid, parents=lambda: list(parents))


def test_a_process_counts_for_the_actor_that_it_is_or_belongs_to():
    names = {1: "ray::Generator.run", 2: "VLLM::EngineCore", 3: "ray::IDLE", 4: "raylet", 5: "ray::Scorer"}
    raylet = process(4)
    assert _role(process(1, raylet), names) == "generator"
    assert _role(process(2, process(1, raylet), raylet), names) == "generator"
    assert _role(process(5, raylet), names) == "scorer"
    assert _role(process(3, raylet), names) == "ray"


def printed(figures):
    console = Console(width=110, record=True)
    for part in show(figures):
        console.print(part)
    return console.export_text()


def test_the_table_tells_both_paces_and_where_our_time_goes():
    text = printed({**FIGURES, "peer": PEER, "rollouts_ratio": 1.5})
    assert "TRL 1, micro-batch 64" in text
    for cell in ("128.0", "85.3", "1.50", "before and after: 3.00 s, 3.25 s"):
        assert cell in text, cell
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.count("│") == 4]
    assert rows == ["generator", "learner", "scorer"], "the largest first"
    assert "16.7%" in text
    assert "75% of their time" in " ".join(text.split())
    assert "TRL" not in printed(FIGURES)


def test_a_peer_that_is_not_known_is_refused_before_anything_starts():
    config = Path(__file__).parents[3] / "configs" / "local.yaml"
    done = CliRunner().invoke(app, ["bench", "loop", str(config), "--peer", "verl"])
    assert done.exit_code == 2
    assert "--peer: must be one of trl, got verl" in done.stderr
