"""`export`, then `eval` of the exported model: eight benchmarks and the run's own held-out prompts, killed
half-way and not.

Real vLLM on what the demo run has trained. The benchmarks are synthetic files in the published schemas,
brought in by `data import`.
"""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.published_sets import published

from pgpo_async.data.importing import BENCHMARKS
from pgpo_async.data.importing.import_run import import_set
from pgpo_async.demo.shapes import shapes_example
from pgpo_async.evaluation.answer_file import read_answers

pytestmark = pytest.mark.timeout(3000)

ROWS = {
    "dynamath": 9, "geometry3k": 3, "mathverse": 5, "mathverse_v": 3, "mathvision": 3, "mmk12": 2,
    "logicvista": 2, "mmmu_pro": 1, "shapes": 200,
}  # fmt: skip
SAMPLES = 4
MAX_S = 900.0


def pgpo(*command, **options):
    return subprocess.run(
        [sys.executable, "-m", "pgpo_async", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=MAX_S,
        check=True,
        **options,
    ).stdout


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A folder with an imported file for each benchmark, and the demo's held-out prompts as another."""
    home = tmp_path_factory.mktemp("suite")
    folder = home / "benchmarks"
    folder.mkdir()
    places = published(home / "published")
    for name, known in BENCHMARKS.items():
        import_set(known, str(places[name]), folder / f"{name}.parquet")
    examples = [shapes_example("heldout", 0, index) for index in range(ROWS["shapes"])]
    rows = [
        {"images": [{"bytes": e.image_png, "path": None}], "problem": e.question, "answer": e.answer}
        for e in examples
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "shapes.parquet", row_group_size=50)
    return folder


@pytest.fixture(scope="module")
def asked(tmp_path_factory, demo, suite):
    """Two evaluations of the exported run: one in a go, one killed half-way and started again."""
    home = tmp_path_factory.mktemp("asked")
    pgpo("export", demo.folder, "--output", home / "hf")
    command = [
        "eval", "configs/local.yaml", f"model.path={home / 'hf'}", f"evaluation.samples_per_prompt={SAMPLES}",
        # Questions of other sets are longer than the demo's.
        "data.max_prompt_tokens=400", "generator.engine.max_model_len=512", "--suite", suite,
    ]  # fmt: skip
    wide = {"env": {**os.environ, "COLUMNS": "200"}}
    whole = pgpo(*command, "--output", home / "whole", "--json", home / "figures.json", **wide)
    kill_half_way([*command, "--output", home / "killed"], home)
    left = len(read_answers(home / "killed", SAMPLES).get("shapes", {}))
    resumed = pgpo(*command, "--output", home / "killed", "--against", home / "whole", **wide)
    return home, whole, resumed, left


def kill_half_way(command, home):
    with (home / "log").open("wb") as log:
        program = [sys.executable, "-m", "pgpo_async", *map(str, command)]
        run = subprocess.Popen(program, stdout=log, stderr=log, start_new_session=True)
    answers, deadline_s = home / "killed" / "answers.jsonl", time.monotonic() + MAX_S
    wanted = SAMPLES * sum(ROWS.values()) // 2
    while not answers.exists() or answers.read_bytes().count(b"\n") < wanted:
        assert run.poll() is None, (home / "log").read_text()[-3000:]
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    children = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    psutil.wait_procs(children, timeout=30)
    for process in children:  # Ray's own, where its driver left it no time to see to them
        if process.is_running():
            process.kill()


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_every_benchmark_has_its_row_with_interval_and_failures_counted(asked):
    home, said, _, _ = asked
    found = results(home / "whole")
    assert list(found["benchmarks"]) == sorted(ROWS)
    for name, row in found["benchmarks"].items():
        assert row["num_prompts"] + row["num_failed"] == ROWS[name], name
        assert row["num_prompts"] > 0, name
        low, high = row["interval95"]
        assert 0.0 <= low <= row["accuracy"] <= high <= 1.0
        assert list(row["pass_at"]) == ["1", "2", "4"]
    for name in BENCHMARKS.values():
        assert name.title in said
    assert "average" in said
    assert json.loads((home / "figures.json").read_text())["average"] == found["average"]


def test_every_answer_is_a_line(asked):
    home, *_ = asked
    rows = [json.loads(line) for line in (home / "whole" / "answers.jsonl").read_text().splitlines()]
    answered = sum(row["num_prompts"] for row in results(home / "whole")["benchmarks"].values())
    assert len(rows) == SAMPLES * answered
    assert {row["sample"] for row in rows} == set(range(SAMPLES))
    assert all(row["text"] and row["answer"] for row in rows if row["benchmark"] == "shapes")


def test_killed_half_way_it_goes_on_and_comes_to_the_same_result(asked):
    home, _, said, left = asked
    assert 0 < left < ROWS["shapes"], "it was killed in the middle"
    assert "prompts are answered in" in said
    whole, killed = results(home / "whole"), results(home / "killed")
    assert killed == whole
    lines = [
        sorted((home / name / "answers.jsonl").read_bytes().splitlines()) for name in ("whole", "killed")
    ]
    assert lines[0] == lines[1], "every answer, to the byte"
    assert "+0.00" in said
    assert "1.0000" in said


def test_the_exported_model_is_as_good_as_the_runs_last_evaluation_says(asked, demo):
    home, *_ = asked
    row = results(home / "whole")["benchmarks"]["shapes"]
    summary = json.loads((demo.folder / "summary.json").read_text())
    error = (row["standard_error"] ** 2 + summary["accuracy_after_standard_error"] ** 2) ** 0.5
    assert abs(row["accuracy"] - summary["accuracy_after"]) < 3 * error
    assert row["accuracy"] > 0.85
