import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.config.training import OptimizerConfig
from pgpo_async.learner.schedule import learning_rate


def test_warm_up_is_a_line_that_reaches_the_peak_at_its_last_step():
    config = OptimizerConfig(lr=1.0, warmup_steps=4)
    assert [learning_rate(step, config, 100) for step in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    )


def test_cosine_matches_values_worked_by_hand():
    config = OptimizerConfig(lr=2.0, schedule="cosine", min_lr_ratio=0.1)
    # shares of the half cosine: 1, (1 + cos 60 deg) / 2 = 0.75, 0.5, 0.25, 0; times 0.9, plus 0.1, times 2
    steps = {0: 2.0, 40: 1.55, 60: 1.1, 80: 0.65, 120: 0.2, 500: 0.2}
    for step, rate in steps.items():
        assert learning_rate(step, config, 120) == pytest.approx(rate), step


def test_cosine_starts_after_the_warm_up_and_ends_at_the_last_step():
    config = OptimizerConfig(lr=1.0, schedule="cosine", min_lr_ratio=0.0, warmup_steps=20)
    assert learning_rate(19, config, 120) == pytest.approx(20 / 21)
    assert learning_rate(20, config, 120) == pytest.approx(1.0)
    assert learning_rate(70, config, 120) == pytest.approx(0.5)
    assert learning_rate(120, config, 120) == pytest.approx(0.0)


@settings(deadline=None)
@given(
    step=st.integers(0, 2000),
    warmup=st.integers(0, 50),
    num_steps=st.integers(1, 1000),
    ratio=st.floats(0, 1),
    schedule=st.sampled_from(["constant", "cosine"]),
)
def test_a_rate_is_positive_and_never_above_the_peak(step, warmup, num_steps, ratio, schedule):
    config = OptimizerConfig(lr=3e-4, schedule=schedule, warmup_steps=warmup, min_lr_ratio=ratio)
    rate = learning_rate(step, config, num_steps)
    assert 0 <= rate <= 3e-4 * (1 + 1e-12)
    assert step >= warmup or rate > 0, "a warm-up step at rate 0 would be wasted"


def test_a_negative_step_is_refused():
    with pytest.raises(ValueError, match="step must not be negative, got -1"):
        learning_rate(-1, OptimizerConfig(), 10)
