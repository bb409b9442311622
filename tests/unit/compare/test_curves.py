"""A run folder as curves, and the seeds of a method joined."""

import math

import pytest

from pgpo_async.compare.curves import Estimate, estimate, join, read_run


def test_a_run_is_read_step_by_step_and_what_was_not_estimated_is_none(make_run):
    run = make_run("grpo", 0)
    assert run.finished
    assert run.steps == (1, 2, 3, 4, 5, 6, 7, 8)
    assert run.points("learner/grad_variance") == [(1, 4.0), (4, 1.0)]
    assert run.values("learner/grad_variance")[1] is None
    assert run.values("no such figure") == (None,) * 8


def test_accuracy_is_smoothed_over_five_steps_and_over_fewer_at_first(make_run):
    smoothed = make_run("grpo", 0).smoothed_accuracy()
    assert smoothed[0] == (1, pytest.approx(0.1))
    assert smoothed[1] == (2, pytest.approx(0.15))
    assert smoothed[7] == (8, pytest.approx((0.4 + 0.5 + 0.6 + 0.7 + 0.8) / 5))


def test_time_is_counted_from_the_beginning_of_the_first_step(make_run):
    elapsed_s = make_run("grpo", 0).elapsed_s()
    assert (elapsed_s[1], elapsed_s[8]) == (2.0, 16.0)


def test_nan_is_not_measured_and_neither_is_a_mean_over_nothing(make_run):
    run = make_run("grpo", 0, **{"reward": math.nan, "learner/dependency_mean": 0.0, "learner/clipped": 0.0})
    assert run.points("reward") == []
    assert run.points("learner/dependency_mean") == []
    assert len(run.points("learner/clipped")) == 8, "0 is a value where it can be one"


def test_a_run_without_a_folder_or_with_an_empty_one_is_missing(tmp_path):
    for folder in (None, tmp_path, tmp_path / "none"):
        run = read_run("grpo", 3, folder)
        assert not run.finished
        assert run.told == "grpo, seed 3: missing, 0 steps"


def test_a_killed_run_keeps_its_steps_and_is_not_finished(make_run):
    run = make_run("grpo", 0, status="interrupted")
    assert (run.finished, len(run.steps)) == (False, 8)
    metrics = run.folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 9, "accu')
    (run.folder / "summary.json").unlink()
    again = read_run("grpo", 0, run.folder)
    assert again.told == "grpo, seed 0: missing, 8 steps, 1 lines of metrics.jsonl unreadable"


def test_a_completed_run_with_damaged_metrics_is_not_averaged(make_run):
    run = make_run("grpo", 0)
    metrics = run.folder / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('{"step": 3,', '"step": 3,'))
    assert not read_run("grpo", 0, run.folder).finished


def test_the_standard_error_is_that_of_the_mean_and_needs_two_seeds():
    assert estimate([]) is None
    assert estimate([0.5]) == Estimate(mean=0.5, standard_error=None, count=1)
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.mean, found.count) == (2.0, 3)
    assert found.standard_error == pytest.approx(math.sqrt(1 / 3))


def test_seeds_are_joined_only_at_the_steps_that_all_of_them_have():
    joined = join([[(1, 0.0), (2, 1.0), (3, 5.0)], [(1, 2.0), (3, 7.0), (4, 9.0)]])
    assert [(step, found.mean, found.count) for step, found in joined] == [(1, 1.0, 2), (3, 6.0, 2)]
    assert join([]) == []
