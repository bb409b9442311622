"""avg@k."""

import numpy as np
import pytest

from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, VersionSpan
from pgpo_async.evaluation import average_accuracy


def group(name, accuracies):
    return RolloutGroup(
        group_id=name,
        prompt=Prompt(prompt_id=name, question="q", answer="a"),
        prompt_token_ids=np.arange(3, dtype=np.int32),
        rollouts=tuple(
            Rollout(
                response_token_ids=np.arange(2, dtype=np.int32),
                behaviour_logprobs=np.zeros(2, dtype=np.float32),
                version_spans=(VersionSpan(version=0, start=0, end=2),),
                finish_reason="stop",
                text="",
                reward_parts={"accuracy": accuracy},
            )
            for accuracy in accuracies
        ),
    )


def test_each_prompt_weighs_the_same_however_many_answers_it_has():
    result = average_accuracy([group("a", [1.0, 0.0]), group("b", [1.0]), group("c", [0.0])])
    assert result.mean == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    # Worked by hand: variance of (0.5, 1, 0) is 0.25, over 3 prompts.
    assert result.standard_error == pytest.approx((0.25 / 3) ** 0.5)


def test_a_prompt_that_failed_is_counted_and_is_not_a_wrong_answer():
    result = average_accuracy([group("a", [1.0])], num_failed=3)
    assert result.mean == 1.0
    assert "3 failed" in str(result)


def test_no_answer_at_all_and_an_unknown_part_are_errors():
    with pytest.raises(ValueError, match="at least one answered prompt"):
        average_accuracy([], num_failed=2)
    with pytest.raises(ValueError, match="must be one of"):
        average_accuracy([group("a", [1.0])], part="exactness")
