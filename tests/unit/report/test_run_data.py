import fcntl
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pgpo_async.contracts import ConfigError
from pgpo_async.report.run_data import read_run_data
from pgpo_async.report.run_events import Kind, kind_of, steps_at


def test_a_whole_run_is_read_with_nothing_missing(new_run):
    run = read_run_data(new_run().whole().path)
    assert (run.status, run.missing, len(run.steps.steps)) == ("completed", (), 12) or run.missing == []
    assert run.setting("algorithm.shaper.name") == "pgpo"
    assert run.max_lag == 2
    assert run.steps.column("learner/loss")[2] == pytest.approx(-0.06)
    assert run.steps.lags[0].tolist() == [0, 1, 2, 2]
    assert run.steps.num_groups == 48
    assert (run.began_s, run.ended_s) == (1_795_000_000.0, 1_795_000_034.0)


def test_a_torn_line_is_left_out_and_told(new_run):
    run = read_run_data(new_run().config().steps(3, torn='{"step": 4, "rew').path)
    assert run.steps.steps.tolist() == [1, 2, 3]
    assert any("metrics.jsonl: 1 line could not be read" in line for line in run.missing)


def test_the_later_line_of_a_step_counts(new_run):
    written = new_run().steps(3)
    with (written.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "reward": 9.0}\n')
    run = read_run_data(written.path)
    assert run.steps.steps.tolist() == [1, 2, 3]
    assert run.steps.column("reward")[1] == 9.0
    assert np.isnan(run.steps.column("learner/loss")[1])


def test_a_figure_that_is_always_zero_for_want_of_tokens_was_not_measured(new_run):
    run = read_run_data(new_run().steps(3, **{"learner/dependency_mean": 0.0, "lag_mean": 0.0}).path)
    assert not run.steps.has("learner/dependency_mean")
    assert run.steps.has("lag_mean")


@pytest.mark.parametrize(
    ("summary", "locked", "status"),
    [
        ({"status": "failed"}, False, "failed"),
        (None, False, "ended without a summary"),
        (None, True, "under way"),
        ({"status": 5}, False, "ended without a summary"),
    ],
)
def test_a_run_says_how_it_ended(new_run, summary, locked, status):
    written = new_run().config().steps(2)
    if summary is not None:
        (written.path / "summary.json").write_text(json.dumps(summary))
    with (written.path / ".lock").open("w") as lock:
        if locked:
            fcntl.flock(lock, fcntl.LOCK_EX)
        assert read_run_data(written.path).status == status


def test_a_run_under_way_tells_its_books_by_its_status_file(new_run):
    written = new_run().config().steps(2)
    queue = {"accounting": {"drawn": 5, "trained": 5}, "balanced": True, "lag_histogram": {"1": 5}}
    standing = {"max_lag": 3, "queue": queue, "restarts": {"scorer": 1, "learner": 2}}
    (written.path / "status.json").write_text(json.dumps(standing))
    run = read_run_data(written.path)
    assert (run.max_lag, run.told["accounting"]["drawn"], run.told["restarts"]) == (3, 5, 3)


def test_a_folder_that_is_no_runs_is_named_with_the_runs_in_it(tmp_path, new_run):
    new_run("one").config()
    with pytest.raises(ConfigError, match=r"must be the folder of a run.*runs in it: .*one"):
        read_run_data(tmp_path)
    with pytest.raises(ConfigError, match=r"nowhere: must be the folder of a run, got no such folder"):
        read_run_data(tmp_path / "nowhere")


def test_a_config_of_another_version_still_tells_its_values(new_run):
    written = new_run().steps(1)
    (written.path / "config.yaml").write_text("future: {field: 1}\nalgorithm: {shaper: {name: next}}\n")
    run = read_run_data(written.path)
    assert run.setting("algorithm.shaper.name") == "next"
    assert run.setting("future.field") == 1
    assert run.setting("train.max_lag.deeper") is None


def test_quarantine_is_counted_by_stage_and_reason_also_before_it_is_merged(new_run):
    written = new_run().steps(1)

    def table(*reasons, parts):
        rows = {"stage": ["source"] * len(reasons), "reason": reasons, "error": [f"of {r}" for r in reasons]}
        metadata = {b"pgpo_async.quarantine": json.dumps({"parts": parts}).encode()}
        return pa.table(rows).replace_schema_metadata(metadata)

    parts = written.path / ".quarantine"
    parts.mkdir()
    pq.write_table(table("a", "b", parts=1), written.path / "quarantine.parquet")
    pq.write_table(table("a", parts=1), parts / "part-00000001.parquet")  # merged already
    pq.write_table(table("b", "b", parts=2), parts / "part-00000002.parquet")
    (parts / "part-00000003.parquet").write_bytes(b"torn")
    run = read_run_data(written.path)
    assert [(kind.reason, kind.count) for kind in run.quarantined] == [("b", 3), ("a", 1)]
    assert run.quarantined[0].error == "of b"
    assert any("part-00000003.parquet could not be read" in line for line in run.missing)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("scorer-0 failed: it died; starting scorer-0.1 (restart 1 of at most 3)", Kind.DEATH),
        ("generator-1 says nothing since 60 s: it is killed", Kind.DEATH),
        ("learner: rank 0 died; starting its ranks again (restart 1 of at most 3)", Kind.DEATH),
        ("step 7 begins again: the learner failed", Kind.DEATH),
        ("scorer-0.1 works in the place of one that died", Kind.RESTART),
        ("queue works again in another process", Kind.RESTART),
        ("the learner goes on after step 4 of 5, its weights are version 6", Kind.ROLLBACK),
        ("resumed: goes on after step 5", Kind.RESUME),
        ("warning: step 2 updated nothing: its loss or gradient was not finite", Kind.SKIPPED),
        ("warning: the batch of step 2 could not be kept: gone", Kind.WARNING),
        ("ready after 59 s", Kind.NOTE),
    ],
)
def test_an_event_is_known_by_its_words(text, kind):
    assert kind_of(text) == kind


def test_an_event_belongs_to_the_step_that_was_under_way(new_run):
    steps = read_run_data(new_run().steps(5).path).steps
    ends = steps.column("time_s")
    assert steps_at(steps, [ends[0] - 100, ends[1], ends[1] + 0.1, ends[4] + 100]) == [1, 2, 3, 5]
