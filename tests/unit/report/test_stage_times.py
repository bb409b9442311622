import numpy as np
import pytest

from pgpo_async.report.run_data import read_run_data
from pgpo_async.report.stage_times import MAX_PIECES, pieces_of


def rows(pieces):
    return {row.key: row for row in [*pieces.busy, *pieces.queue, *pieces.bytes]}


def test_a_short_run_has_a_piece_for_each_step_and_the_summarys_means(new_run):
    pieces = pieces_of(read_run_data(new_run().whole().path))
    found = rows(pieces)
    assert pieces.steps == [(step, step) for step in range(1, 13)]
    assert pieces.ends_s.tolist() == pytest.approx([10 + 2 * step for step in range(1, 13)])
    assert (pieces.ends_s - pieces.starts_s).tolist() == pytest.approx([2.0] * 12)
    assert found["generate"].mean == pytest.approx(21.6 / 24)
    assert found["generate"].values.tolist() == [0.9] * 12
    assert found["learn"].values.tolist() == pytest.approx([0.6] * 12)
    assert found["wait"].values.tolist() == [0.25] * 12
    assert found["reserved"].mean == 3
    assert "scoring" not in found


def test_a_run_of_an_older_version_tells_what_the_learner_did(new_run):
    run = new_run().steps(3, **{"pipeline/busy_generate": None, "pipeline/busy_learn": None})
    assert {"learn", "wait"} <= set(rows(pieces_of(read_run_data(run.path))))
    assert "generate" not in rows(pieces_of(read_run_data(run.path)))


def test_a_pause_between_two_starts_is_left_empty_in_a_long_run_too(new_run, line_of):
    lines = [line_of(step) for step in range(1, 2001)]
    for line in lines[1000:]:
        line["time_s"] += 5_000.0
    pieces = pieces_of(read_run_data(new_run().lines("metrics.jsonl", lines).path))
    assert MAX_PIECES / 4 < len(pieces.starts_s) <= MAX_PIECES + 1
    gaps = pieces.starts_s[1:] - pieces.ends_s[:-1]
    assert gaps.max() == pytest.approx(5_000.0)
    assert (pieces.ends_s - pieces.starts_s).max() < 100
    assert np.concatenate([range(first, last + 1) for first, last in pieces.steps]).tolist() == list(
        range(1, 2001)
    )


def test_a_long_start_is_left_out_unless_something_happened_in_it(new_run):
    quiet = new_run("quiet").whole()
    assert pieces_of(read_run_data(quiet.path)).begin_s == pytest.approx(10 - 0.02 * 24)
    died = new_run("died").whole().events("3: generator-0 failed: killed; starting generator-0.1")
    assert pieces_of(read_run_data(died.path)).begin_s == 0.0
