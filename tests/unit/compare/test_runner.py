"""The order of a comparison's runs, what is not done again, and what one bad run costs.

`Run` is a stand-in that writes what a run writes: no actor is started here. What the processes of one run
carry over to the next is seen in `tests/end_to_end/test_whole_loop.py`.
"""

import json
from typing import ClassVar

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from pgpo_async.compare import plots, runner
from pgpo_async.config import load_compare, run_configs
from pgpo_async.contracts import ConfigError, StageFailed

FILE = """
name: trial
base: base.yaml
seeds: [0, 1]
common: {train.num_steps: 2}
methods:
  plain: {algorithm.shaper.name: none}
  pgpo: {algorithm.shaper.name: pgpo}
"""


class StandInCluster:
    def __init__(self):
        self.stopped = False

    def can_renew(self, config):
        return config.algorithm.clip_low == 0.2

    def stop(self):
        self.stopped = True
        return []


class StandInRun:
    """Completed at once, unless `outcomes` says otherwise by the run's name."""

    log: ClassVar[list] = []
    outcomes: ClassVar[dict] = {}

    def __init__(self, config, folder, _console, *, cluster, keep):
        self.config, self.folder = config, folder
        self.cluster = cluster or StandInCluster()
        self.kept = None
        self.log.append((config.name, cluster, keep))
        self._keep = keep

    def run(self):
        outcome = self.outcomes.get(self.config.name, "completed")
        self.folder.write_summary({"status": "failed" if isinstance(outcome, Exception) else outcome})
        if isinstance(outcome, Exception):
            raise outcome
        for step in (1, 2):
            self.folder.log_step({"step": step, "accuracy": 0.5, "step_s": 1.0, "time_s": float(step)})
        if outcome == "interrupted":
            return 130
        self.kept = self.cluster if self._keep else None
        return 0


@pytest.fixture
def compare(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "Run", StandInRun)
    monkeypatch.setattr(plots, "draw", lambda _: Figure((1, 1)))  # `test_report` draws in earnest
    monkeypatch.setattr(StandInRun, "log", [])
    monkeypatch.setattr(StandInRun, "outcomes", {})
    (tmp_path / "base.yaml").write_text("model: {path: builtin:tiny-vlm, dtype: float32}\n")
    (tmp_path / "compare.yaml").write_text(FILE)

    def run(*overrides):
        StandInRun.log.clear()
        path = tmp_path / "compare.yaml"
        config = load_compare(path, [f"output_dir={tmp_path / 'runs'}", *overrides])
        planned = run_configs(config, path, str(config.folder))
        console = Console(width=200, record=True, file=(tmp_path / "console.txt").open("a"))
        code = runner.Comparison(config, planned, console).run()
        return code, [name for name, *_ in StandInRun.log], console.export_text()

    run.folder = tmp_path / "runs" / "trial"
    return run


def test_all_methods_of_a_seed_come_before_the_next_seed_and_share_their_processes(compare):
    code, names, text = compare()
    assert code == 0
    assert names == ["plain-seed0", "pgpo-seed0", "plain-seed1", "pgpo-seed1"]
    clusters = [cluster for _, cluster, _ in StandInRun.log]
    assert clusters[0] is None
    assert clusters[1] is clusters[2] is clusters[3] is not None
    assert [keep for *_, keep in StandInRun.log] == [True, True, True, False]
    assert "run 3 of 4: plain, seed 1" in text
    for name in ("table.md", "results.json", "plots.png", "report.html"):
        assert (compare.folder / name).stat().st_size > 100, name


def test_what_is_done_with_the_same_config_is_not_done_again(compare):
    compare()
    before = sorted(compare.folder.glob("*-seed*"))
    code, names, text = compare()
    assert (code, names) == (0, [])
    assert "4 runs, 4 of them done before" in text
    assert sorted(compare.folder.glob("*-seed*")) == before
    assert compare("methods.pgpo.algorithm.clip_low=0.1")[1] == ["pgpo-seed0", "pgpo-seed1"]
    assert compare("seeds=[0,1,2]")[1] == ["plain-seed2", "pgpo-seed2"]


def test_processes_that_do_not_suit_the_next_run_are_stopped(compare):
    compare("methods.pgpo.algorithm.clip_low=0.1")
    clusters = [cluster for _, cluster, _ in StandInRun.log]
    assert clusters[0] is None
    assert clusters[1] is None
    assert clusters[2] is not None
    assert clusters[3] is None
    assert clusters[2].stopped


def test_a_run_that_fails_is_named_and_the_others_go_on(compare):
    StandInRun.outcomes["pgpo-seed0"] = StageFailed("scorer-0 failed: no room", role="scorer")
    code, names, text = compare()
    assert code == 1
    assert names == ["plain-seed0", "pgpo-seed0", "plain-seed1", "pgpo-seed1"]
    assert "pgpo, seed 0 failed: scorer-0 failed: no room" in text
    assert StandInRun.log[2][1] is None, "its processes are not used on"
    assert "pgpo, seed 0: failed, 0 steps" in (compare.folder / "table.md").read_text()
    StandInRun.outcomes.clear()
    code, names, _ = compare()
    assert (code, names) == (0, ["pgpo-seed0"])
    assert "failed" not in (compare.folder / "table.md").read_text()


def test_an_interrupted_comparison_reports_what_there_is_and_goes_on_from_there(compare):
    StandInRun.outcomes["plain-seed1"] = "interrupted"
    code, names, _ = compare()
    assert (code, names) == (130, ["plain-seed0", "pgpo-seed0", "plain-seed1"])
    found = json.loads((compare.folder / "results.json").read_text())
    assert "interrupted" in json.dumps(found)
    StandInRun.outcomes.clear()
    assert compare()[:2] == (0, ["plain-seed1", "pgpo-seed1"])


def test_missing_inputs_of_any_run_are_told_before_the_first_begins(compare):
    with pytest.raises(ConfigError) as caught:
        compare("methods.pgpo.data.source=missing.parquet", "common.model.path=/no/such/model")
    assert StandInRun.log == []
    issues = "\n".join(caught.value.issues)
    assert "pgpo: " in issues
    assert "missing.parquet" in issues
    assert issues.count("plain: ") == 1, "once, not for every seed"
    assert not compare.folder.exists()
