"""The run in figures."""

import pytest

from pgpo_async.contracts import Accounting
from pgpo_async.evaluation import Accuracy
from pgpo_async.orchestration.summary import RunSummary


def accuracy(mean):
    return Accuracy(mean=mean, standard_error=0.01, num_prompts=10, num_failed=0, mean_response_tokens=18.0)


def summary(**changes):
    values = {
        "status": "completed",
        "steps": 4,
        "wall_s": 30.0,
        "train_s": 20.0,
        "busy_s": {"generate": 16.0, "score": 5.0, "learn": 12.0},
        "learner_wait_s": 5.0,
        "max_lag_allowed": 2,
        "lag_histogram": {0: 3, 2: 1},
        "weight_versions_loaded": 4,
        "rollouts_with_several_versions": 7,
        "accounting": Accounting(drawn=10, trained=4, filtered=3, pending=3),
        "mismatch_kl": 1e-6,
        "accuracy_before": accuracy(0.4),
        "accuracy_after": accuracy(0.9),
    }
    return RunSummary(**{**values, **changes})


def test_the_summary_has_the_published_keys_and_the_defined_ratios():
    figures = summary().as_json()
    promised = {
        "accuracy_before", "accuracy_after", "steps", "wall_s", "busy_s", "overlap_efficiency",
        "learner_wait_fraction", "max_lag_allowed", "max_lag_seen", "lag_histogram", "weight_versions_loaded",
        "rollouts_with_several_versions", "mismatch_kl", "accounting",
    }  # fmt: skip
    assert promised <= set(figures)
    assert figures["overlap_efficiency"] == pytest.approx(0.8)
    assert figures["learner_wait_fraction"] == pytest.approx(0.25)
    assert figures["max_lag_seen"] == 2
    assert figures["lag_histogram"] == {"0": 3, "2": 1}
    assert set(figures["accounting"]) == {"drawn", "trained", "filtered", "stale", "quarantined", "pending"}


def test_a_run_that_never_trained_divides_by_nothing():
    figures = summary(train_s=0.0, steps=0, lag_histogram={}, accuracy_after=None).as_json()
    assert figures["overlap_efficiency"] is None
    assert figures["learner_wait_fraction"] is None
    assert figures["accuracy_after"] is None
    assert figures["max_lag_seen"] == 0


def test_books_that_do_not_add_up_are_said_so():
    assert summary().as_json()["accounting_balanced"]
    assert not summary(accounting=Accounting(drawn=10, trained=4)).as_json()["accounting_balanced"]
