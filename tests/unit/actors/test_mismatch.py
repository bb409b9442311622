"""The mismatch meter counts what one version both sampled and scored, and nothing else."""

import numpy as np
import pytest

from pgpo_async.actors.mismatch import MismatchMeter
from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, VersionSpan


def rollout(logprobs, *spans):
    return Rollout(
        response_token_ids=np.zeros(len(logprobs), dtype=np.int32),
        behaviour_logprobs=np.asarray(logprobs, dtype=np.float32),
        version_spans=tuple(VersionSpan(version=v, start=s, end=e) for v, s, e in spans),
        finish_reason="stop",
        text="",
    )


def test_only_responses_sampled_whole_by_the_scoring_version_count():
    rollouts = (
        rollout([-1.0, -2.0], (3, 0, 2)),
        rollout([-1.0, -2.0], (2, 0, 1), (3, 1, 2)),  # updated in flight
        rollout([-1.0], (2, 0, 1)),  # older
    )
    group = RolloutGroup(
        group_id="g",
        prompt=Prompt(prompt_id="p", question="", answer="a"),
        prompt_token_ids=np.zeros(1, dtype=np.int32),
        rollouts=rollouts,
    )
    meter = MismatchMeter()
    sighted = [np.asarray(row, dtype=np.float32) for row in ([-1.0, -1.5], [-9.0, -9.0], [-9.0])]
    meter.add([group], sighted, version=3)
    # k3 of a log ratio of 0.5: exp(0.5) - 1 - 0.5; the first token agrees.
    assert meter.totals()["mismatch_sum"] == pytest.approx(np.exp(0.5) - 1.5, rel=1e-6)
    assert meter.totals()["mismatch_tokens"] == 2
