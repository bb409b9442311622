"""What the log-probs of generators and scorers say of each other where the weights are the same."""

from dataclasses import replace

import numpy as np
import pytest

from pgpo_async.contracts import VersionSpan
from pgpo_async.learner.agreement import agreement, agreement_sums


def seen_by_a_trainer(group, change):
    """The group with proximal log-probs that are a function of the behaviour's."""
    rows = tuple(change(rollout.behaviour_logprobs) for rollout in group.group.rollouts)
    return replace(group, proximal_logprobs=rows)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_a_temperature_that_one_side_does_not_know_is_the_slope(make_group, temperature):
    group = seen_by_a_trainer(make_group([40, 60], [1.0, 0.0]), lambda row: row * temperature)
    found = agreement(agreement_sums([group]))
    assert found["fresh_slope"] == pytest.approx(1 / temperature, rel=1e-6)
    assert (found["fresh_mismatch_kl"] < 1e-9) == (temperature == 1.0)


def test_the_mean_is_that_of_k3_over_all_groups(make_group):
    groups = [make_group([3, 5], [1.0, 0.0]), make_group([4, 2], [1.0, 0.0], seed=1)]
    pairs = [
        (rollout.behaviour_logprobs.astype(float), row.astype(float))
        for scored in groups
        for rollout, row in zip(scored.group.rollouts, scored.proximal_logprobs, strict=True)
    ]
    differences = np.concatenate([proximal - behaviour for behaviour, proximal in pairs])
    parts = [agreement_sums([group]) for group in groups]
    summed = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    expected = (np.exp(differences) - differences - 1).mean()
    assert agreement(summed)["fresh_mismatch_kl"] == pytest.approx(expected, rel=1e-6)


def test_responses_of_other_versions_do_not_count(make_group):
    group = make_group([4, 4], [1.0, 0.0])
    older = tuple(
        replace(
            rollout,
            version_spans=(VersionSpan(version=0, start=0, end=2), VersionSpan(version=1, start=2, end=4)),
        )
        for rollout in group.group.rollouts
    )
    mixed = replace(group, group=replace(group.group, rollouts=older))
    stale = replace(group, scorer_version=1)
    assert agreement_sums([mixed, stale])["num_fresh_tokens"] == 0
    assert agreement(agreement_sums([mixed, stale])) == {"fresh_mismatch_kl": 0.0, "fresh_slope": 1.0}
