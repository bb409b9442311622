import pytest

from pgpo_async.config import RunConfig
from pgpo_async.contracts import Accounting, StageFailed
from pgpo_async.orchestration.run_health import RunHealth


def books(**counts):
    return Accounting(drawn=sum(counts.values()), **counts)


def health(patience=3):
    return RunHealth(
        RunConfig.model_validate(
            {"train": {"groups_per_step": 4}, "algorithm": {"filter": {"patience": patience}}}
        )
    )


def test_a_source_without_signal_ends_the_run_with_what_to_change():
    run = health()
    run.check(books(filtered=12, pending=8))
    with pytest.raises(StageFailed, match=r"^13 groups were filtered since the last .*accuracy"):
        run.check(books(filtered=13, pending=8))


def test_a_step_in_between_starts_the_count_again():
    run = health()
    metrics, warning = run.step_done(1, books(trained=4, filtered=12, pending=8), {}, {})
    assert metrics == {"filtered_share": 12 / 16}
    assert warning is None
    run.check(books(trained=4, filtered=24, pending=8))
    metrics, _ = run.step_done(2, books(trained=8, filtered=24, pending=2), {}, {})
    assert metrics == {"filtered_share": 12 / 16}
    with pytest.raises(StageFailed, match="14 groups"):
        run.check(books(trained=8, filtered=38, pending=2))


def test_mostly_unusable_prompts_end_the_run_with_the_reasons():
    run = health()
    counts = Accounting(
        drawn=70, trained=30, quarantined=40, quarantined_by_reason={"image": 39, "too_long": 1}
    )
    with pytest.raises(StageFailed, match=r"40 of 70 prompts were quarantined: image \(39\), too_long \(1\)"):
        run.check(counts)


def test_a_collapse_is_warned_of():
    run = health()
    said = [
        run.step_done(step, books(trained=step), {"reward": 1.0 - step / 20}, {"entropy": 0.1 * 1.2**step})[1]
        for step in range(1, 17)
    ]
    assert [text is not None for text in said] == [False] * 15 + [True]
    assert "step 16: reward fell" in str(said[-1])
