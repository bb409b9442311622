"""Figures over seeds, differences seed by seed, and what may not be averaged. All values by hand."""

import pytest

from pgpo_async.compare.curves import RunCurves
from pgpo_async.compare.figures import FIGURES, geometric_mean, seconds_to, steps_to
from pgpo_async.compare.results import results_of


def test_the_figures_of_one_run_are_as_computed_by_hand(make_run):
    run = make_run("grpo", 0)
    assert {figure.key: figure.of_run(run) for figure in FIGURES} == {
        "accuracy_before": 0.2,
        "accuracy_after": 0.8,
        "accuracy_end": pytest.approx(0.75),  # of steps 7 and 8
        "accuracy_area": pytest.approx(0.45),
        "train_s": 16.0,
        "entropy_end": pytest.approx(1.25),
        "grad_variance": pytest.approx(2.0),  # sqrt(4 * 1)
        "grad_variance_ratio": pytest.approx(2.0),
        "grad_snr": pytest.approx(0.5),
        "grad_snr_ratio": pytest.approx(2.5),
        "weight_max": 9.0,
        "advantage_top_share": pytest.approx(0.5),
        "dependency_end": pytest.approx(0.25),
    }


def test_a_run_without_steps_has_no_figures():
    run = RunCurves(method="grpo", seed=0)
    assert {figure.of_run(run) for figure in FIGURES} == {None}


def test_a_geometric_mean_is_of_the_positive_values():
    assert geometric_mean([1.0, 0.0, 100.0]) == pytest.approx(10.0)
    assert geometric_mean([0.0]) is None


def test_the_target_is_reached_by_the_smoothed_accuracy_not_by_one_lucky_step(make_run):
    run = make_run("grpo", 0)  # its smoothed accuracy ends with 0.1, .15, .2, .25, .3, .4, .5, .6
    assert steps_to(run, 0.395) == 6.0
    assert steps_to(run, 0.7) is None
    assert seconds_to(run, 0.395) == pytest.approx(12.0)
    assert seconds_to(run, 0.7) is None


def test_means_and_standard_errors_are_over_seeds(compare, runs):
    grpo, pgpo = results_of(compare, runs).methods
    after = grpo.figures["accuracy_after"]
    assert (after.mean, after.standard_error, after.count) == (pytest.approx(0.6), pytest.approx(0.1), 2)
    assert pgpo.figures["accuracy_after"].mean == pytest.approx(0.75)
    assert pgpo.figures["accuracy_after"].standard_error == pytest.approx(0.15)


def test_differences_are_of_the_same_seed_and_the_first_method_has_none(compare, runs):
    grpo, pgpo = results_of(compare, runs).methods
    difference = pgpo.differences["accuracy_after"]  # 0.1 and 0.2
    assert (difference.mean, difference.count) == (pytest.approx(0.15), 2)
    assert difference.standard_error == pytest.approx(0.05)
    assert pgpo.differences["accuracy_area"].mean == pytest.approx(0.1)
    assert pgpo.differences["accuracy_area"].standard_error == pytest.approx(0.0)
    assert grpo.differences == {}


def test_a_run_that_did_not_finish_is_in_no_mean_and_its_seed_in_no_difference(compare, make_run):
    runs = [
        make_run("grpo", 0, after=0.5),
        make_run("pgpo", 0, after=0.6),
        make_run("grpo", 1, after=0.7),
        make_run("pgpo", 1, after=0.0, status="failed"),
    ]
    results = results_of(compare, runs)
    pgpo = results.methods[1]
    after = pgpo.figures["accuracy_after"]
    assert (after.mean, after.standard_error, after.count) == (0.6, None, 1)
    assert pgpo.differences["accuracy_after"].count == 1
    assert [run.told for run in results.unfinished] == ["pgpo, seed 1: failed, 8 steps"]


def test_a_planned_run_that_is_not_given_is_missing(compare, runs):
    results = results_of(compare, runs[:3])
    assert [run.told for run in results.unfinished] == ["pgpo, seed 1: missing, 0 steps"]
    assert (len(results.methods[1].runs), results.methods[1].num_planned) == (1, 2)


def test_the_target_is_what_the_first_method_ends_with_or_what_was_asked(compare, runs):
    results = results_of(compare, runs)
    assert results.target_accuracy == pytest.approx(0.75)
    asked = results_of(compare.model_copy(update={"target_accuracy": 0.595}), runs)
    grpo, pgpo = (method.steps_to_target for method in asked.methods)
    assert grpo.estimate.mean == 8.0
    assert pgpo.estimate.mean == 7.0
    assert pgpo.estimate.standard_error == 0.0


def test_steps_to_a_target_that_a_seed_misses_have_no_mean(compare, make_run):
    runs = [make_run("grpo", 0, start=0.9), make_run("grpo", 1, start=0.0)]
    asked = compare.model_copy(update={"target_accuracy": 0.8})
    reached = results_of(asked, runs).methods[0].steps_to_target
    assert (reached.estimate, reached.num_reached, reached.num_runs) == (None, 1, 2)


def test_without_any_run_there_is_no_target_and_nothing_breaks(compare):
    results = results_of(compare, [])
    assert results.target_accuracy is None
    assert len(results.unfinished) == 4


@pytest.mark.parametrize(
    ("method", "seed", "message"),
    [("gppo", 0, "of the comparison, got 'gppo' with seed 0"), ("grpo", 7, "got 'grpo' with seed 7")],
)
def test_a_run_of_another_comparison_is_refused(compare, method, seed, message):
    with pytest.raises(ValueError, match=message):
        results_of(compare, [RunCurves(method=method, seed=seed)])


def test_a_run_given_twice_is_refused(compare):
    with pytest.raises(ValueError, match="must be there once"):
        results_of(compare, [RunCurves(method="grpo", seed=0)] * 2)
