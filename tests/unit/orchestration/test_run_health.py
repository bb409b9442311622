import pytest

from pgpo_async.config import RunConfig
from pgpo_async.contracts import Accounting, StageFailed
from pgpo_async.orchestration.run_health import RunHealth


def books(**counts):
    return Accounting(drawn=sum(counts.values()), **counts)


def health(patience=3, **train):
    return RunHealth(
        RunConfig.model_validate(
            {"train": {"groups_per_step": 4, **train}, "algorithm": {"filter": {"patience": patience}}}
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


def test_what_was_filtered_before_a_checkpoint_does_not_end_the_run_that_goes_on_from_it():
    run = health()
    run.go_on(books(trained=40, filtered=100, pending=8))
    run.check(books(trained=40, filtered=112, pending=8))
    with pytest.raises(StageFailed, match="13 groups"):
        run.check(books(trained=40, filtered=113, pending=8))


def quarantine_books(trained, **by_reason):
    return Accounting(
        drawn=trained + sum(by_reason.values()),
        trained=trained,
        quarantined=sum(by_reason.values()),
        quarantined_by_reason=by_reason,
    )


def test_mostly_unusable_prompts_end_the_run_with_the_commonest_reasons_first_and_an_example_of_each():
    run = health()
    run.note("too_long", "prompt p/7: must have\n  at most 9 tokens, got 10")
    run.note("image", "prompt p/1: cannot identify")
    run.note("image", "prompt p/2: cannot identify")
    run.check(quarantine_books(40, image=39, too_long=1))
    with pytest.raises(StageFailed) as caught:
        run.check(quarantine_books(30, too_long=1, other=2, image=37))
    assert str(caught.value) == (
        "40 of 70 prompts were quarantined, a larger share than train.max_quarantined_share, 0.5: "
        "image (37, for instance: prompt p/1: cannot identify), other (2), "
        "too_long (1, for instance: prompt p/7: must have at most 9 tokens, got 10); "
        "each is in quarantine.parquet, with its error and its input"
    )


def test_share_and_count_at_which_a_run_ends_are_the_configs():
    run = health(max_quarantined_share=0.1, min_quarantined=5)
    run.check(quarantine_books(4, image=4))
    run.check(quarantine_books(45, image=5))
    with pytest.raises(StageFailed, match=r"5 of 49 .* 0\.1"):
        run.check(quarantine_books(44, image=5))
    health(max_quarantined_share=1.0).check(quarantine_books(0, image=1000))


def test_a_collapse_is_warned_of():
    run = health()
    said = [
        run.step_done(step, books(trained=step), {"reward": 1.0 - step / 20}, {"entropy": 0.1 * 1.2**step})[1]
        for step in range(1, 17)
    ]
    assert [text is not None for text in said] == [False] * 15 + [True]
    assert "step 16: reward fell" in str(said[-1])
