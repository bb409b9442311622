import math
from dataclasses import replace

import numpy as np
import pytest

from pgpo_async.config.shapers import ShaperConfig
from pgpo_async.config.training import AlgorithmConfig
from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, ScoredGroup, VersionSpan
from pgpo_async.report.tokens.values import group_values


def floats(*values):
    return np.array(values, np.float32)


def scored(*, rewards=(1.0, 0.0), images=(b"image",)):
    """Two responses of three tokens and two; the first was begun by version 3 and ended by version 5."""
    spans = (VersionSpan(version=3, start=0, end=1), VersionSpan(version=5, start=1, end=3))
    rollouts = tuple(
        Rollout(
            response_token_ids=np.arange(len(logprobs), dtype=np.int32),
            behaviour_logprobs=logprobs,
            version_spans=versions,
            finish_reason="stop",
            text="",
            reward=reward,
        )
        for logprobs, versions, reward in zip(
            (floats(-1, -1, -1), floats(-2, -2)),
            (spans, (VersionSpan(version=5, start=0, end=2),)),
            rewards,
            strict=True,
        )
    )
    group = RolloutGroup(
        group_id="g",
        prompt=Prompt(prompt_id="p", question="?", answer="", images=images),
        prompt_token_ids=np.arange(2, dtype=np.int32),
        rollouts=rollouts,
    )
    return ScoredGroup(
        group=group,
        proximal_logprobs=(floats(-1, 0, -1.5), floats(-2, np.nan)),
        dependency=(floats(0, 3, 0), floats(0.5, 0)),
        token_weights=(floats(0, 3, 0), floats(2, 0)),
        scorer_version=5,
    )


def rows(values, key):
    return [row.tolist() for row in values.rows[key]]


def test_each_quantity_is_what_it_says():
    entropy = (floats(0.1, 0.2, 0.3), floats(0.4, 0.5))
    values = group_values(scored(), AlgorithmConfig(advantage="none"), version=6, entropy=entropy)
    assert values.missing == {}
    assert rows(values, "dependency") == [[0, 3, 0], [0.5, 0]]
    assert rows(values, "weight") == [[0, 3, 0], [2, 0]]
    assert values.advantages == (0.5, -0.5)
    assert rows(values, "advantage") == [[0, 1.5, 0], [-1, 0]]
    assert values.rows["entropy"] is entropy
    assert rows(values, "lag") == [[3, 1, 1], [1, 1]]
    ratios = rows(values, "importance")
    assert ratios[0] == pytest.approx([1, math.e, math.exp(-0.5)])
    assert ratios[1][0] == 1
    assert math.isnan(ratios[1][1])
    assert values.mean_dependency == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("algorithm", "capped"),
    [
        (AlgorithmConfig(is_cap=2.0), [[False, True, False], [False, False]]),
        (AlgorithmConfig(is_cap=3.0), [[False, False, False], [False, False]]),
        (AlgorithmConfig(is_mode="icepop", icepop_low=0.7), [[False, False, True], [False, False]]),
        (AlgorithmConfig(is_mode="off"), [[False, False, False], [False, False]]),
    ],
)
def test_ratios_are_shown_uncapped_and_marked_where_the_loss_cuts_them(algorithm, capped):
    values = group_values(scored(), algorithm)
    assert [row.tolist() for row in values.capped] == capped
    assert values.rows["importance"][0][1] == pytest.approx(math.e)


def test_the_share_above_tau_is_that_of_the_runs_shaper():
    low = AlgorithmConfig(shaper=ShaperConfig(name="pgpo", params={"tau": 0.0}))
    assert group_values(scored(), low).boosted_share == 1.0
    values = group_values(scored(), AlgorithmConfig())
    assert (values.boosted_share, values.tau) == (pytest.approx(2 / 5), 0.4)


def test_what_no_scorer_measured_is_missing_with_its_reason():
    values = group_values(ScoredGroup.unscored(scored().group), AlgorithmConfig())
    assert set(values.missing) == {"dependency", "entropy", "importance", "lag"}
    assert "no scorer" in values.missing["dependency"]
    assert values.boosted_share is None
    assert values.mean_dependency is None
    assert rows(values, "weight") == [[1, 1, 1], [1, 1]]


def test_weights_that_only_the_learner_knows_are_not_shown_as_ones():
    vppo = AlgorithmConfig(shaper=ShaperConfig(name="vppo"))
    ones = replace(scored(), token_weights=(floats(1, 1, 1), floats(1, 1)))
    values = group_values(ones, vppo)
    assert "learner" in values.missing["weight"]
    assert values.missing["advantage"] == values.missing["weight"]
    assert values.advantages == pytest.approx((math.sqrt(0.5), -math.sqrt(0.5)), abs=1e-5)


def test_rewards_that_make_no_advantage_are_told():
    values = group_values(scored(rewards=(math.nan, 0.0)), AlgorithmConfig())
    assert "finite" in values.missing["advantage"]
    assert values.advantages == ()


def test_what_the_caller_has_a_reason_for_is_not_looked_for():
    values = group_values(scored(), AlgorithmConfig(), version=6, missing={"lag": "because"})
    assert "lag" not in values.rows
    assert values.missing["lag"] == "because"
