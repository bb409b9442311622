"""The replay queue's rules one by one; `test_replay_queue_states` checks that they hold together."""

import json

import pytest

from pgpo_async.actors.queue_state import QueueState
from pgpo_async.config.training import FilterConfig
from pgpo_async.contracts import LeaseError, Prompt, PromptError, StageFailed


def test_a_group_goes_from_prompt_to_training_and_every_slot_comes_back(make_bench):
    bench = make_bench()
    queue = bench.queue
    assert bench.generate(num_mixed_rollouts=1) == "queued"
    assert bench.generate() == "queued"
    assert queue.lease_batch("learner", 0, 2) is None
    bench.score_all()
    leases = queue.lease_batch("learner", 0, 2)
    assert [(lease.group_id, bench.store[lease.ref]) for lease in leases] == [
        ("g00000000", b"scored"),
        ("g00000001", b"scored"),
    ]
    assert bench.admission.available == 2, "slots are held through the step"
    assert queue.ack([lease.group_id for lease in leases], "learner") == 2
    assert queue.version == 1, "an acknowledged step is a step done"
    stats = queue.stats()
    assert bench.admission.available == 4
    assert stats.accounting.as_dict() == {
        "drawn": 2, "trained": 2, "filtered": 0, "stale": 0, "quarantined": 0, "pending": 0,
    }  # fmt: skip
    assert stats.lag_histogram == {0: 2}
    assert stats.mixed_rollouts_trained == 1
    assert stats.num_bytes == 0


def test_groups_of_the_oldest_weights_train_first_and_equal_ones_in_their_order(make_bench):
    bench = make_bench(max_lag=2)
    for version in (1, 0, 1, 0):
        bench.generate(version=version)
    bench.score_all()
    leases = bench.queue.lease_batch("learner", 1, 4)
    assert [lease.group_id[-1] for lease in leases] == ["1", "3", "0", "2"]


def test_a_group_too_old_for_the_learner_is_dropped_at_the_pop_and_frees_its_slot(make_bench):
    bench = make_bench(max_lag=1)
    for version in (0, 1, 1):
        bench.generate(version=version)
    bench.score_all()
    leases = bench.queue.lease_batch("learner", 2, 2)
    assert [lease.header.oldest_version for lease in leases] == [1, 1]
    assert bench.queue.accounting().stale == 1
    assert bench.admission.available == 2


def test_a_group_on_lease_to_a_scorer_when_it_grows_too_old_ends_at_its_commit(make_bench):
    bench = make_bench(max_lag=0)
    bench.generate()
    (lease,) = bench.queue.lease_for_scoring("scorer", 1)
    assert bench.queue.set_version(1) == 0
    assert bench.store[lease.ref] == b"generated", "the scorer may still be reading"
    assert bench.queue.commit_scores(lease.group_id, "scorer", b"scored") == "stale"
    assert bench.queue.accounting().stale == 1


@pytest.mark.parametrize(
    ("reward", "accuracy", "key", "disposition"),
    [
        (0.5, 0.0, "accuracy", "filtered"),
        (0.5, 0.01, "accuracy", "filtered"),
        (0.5, 0.02, "accuracy", "queued"),
        (0.5, 1.0, "accuracy", "filtered"),
        (0.5, 1.0, "reward", "queued"),
        (1.0, 0.5, "reward", "filtered"),
    ],
)
def test_a_group_without_signal_is_filtered_by_the_mean_of_its_key(
    make_bench, reward, accuracy, key, disposition
):
    bench = make_bench(group_filter=FilterConfig(key=key))
    assert bench.generate(reward=reward, mean_parts={"accuracy": accuracy}) == disposition
    assert not bench.store or disposition == "queued"


def test_without_scoring_a_generated_group_is_ready_to_train_and_comes_back_so(make_bench):
    bench = make_bench(scoring=False)
    assert [bench.generate(), bench.generate()] == ["queued", "queued"]
    assert bench.queue.lease_for_scoring("scorer", 8) == []
    for _ in range(2):
        ids = [lease.group_id for lease in bench.queue.lease_batch("learner", 0, 2)]
        bench.queue.abandon(ids, "learner")
    assert [lease.group_id for lease in bench.queue.lease_batch("learner", 0, 2)] == ids
    assert bench.queue.ack(ids, "learner") == 2


def test_a_filter_key_that_no_reward_has_is_an_error_and_changes_nothing(make_bench):
    bench = make_bench(group_filter=FilterConfig(key="style"))
    with pytest.raises(ValueError, match=r"filter key must be one of \['accuracy', 'reward'\], got 'style'"):
        bench.generate()
    assert bench.queue.stats().depth["reserved"] == 1


def test_with_the_filter_off_every_group_trains(make_bench):
    bench = make_bench(group_filter=FilterConfig(enabled=False, key="style"))
    assert bench.generate(reward=1.0) == "queued"


def test_reservations_wait_for_slots_groups_and_bytes_and_say_for_which(make_bench):
    bench = make_bench(max_lag=0, groups_per_step=1)
    bench.generate()
    assert bench.queue.reserve("gen") is None
    assert "all 1 are held" in bench.queue.stats().waiting["reserve"]
    bench = make_bench(queue={"max_groups": 1})
    bench.generate()
    assert bench.queue.reserve("gen") is None
    assert "max_groups 1" in bench.queue.stats().waiting["reserve"]
    bench = make_bench(queue={"max_bytes": 30})
    bench.generate()
    assert bench.queue.reserve("gen") is not None, "9 bytes held, 9 expected"
    assert bench.queue.reserve("gen") is not None, "9 held, 18 expected"
    assert bench.queue.reserve("gen") is None, "9 held, 27 expected"
    assert "max_bytes 30" in bench.queue.stats().waiting["reserve"]


def test_a_prompt_given_back_is_drawn_first_and_counted_once(make_bench):
    bench = make_bench()
    first, second = bench.queue.reserve("a"), bench.queue.reserve("b")
    bench.queue.give_back(second.group_id, "b")
    bench.queue.give_back(first.group_id, "a")
    again = bench.queue.reserve("c")
    assert (again.group_id, again.attempt, again.prompt) == (first.group_id, 1, first.prompt)
    assert bench.queue.accounting().drawn == 2
    with pytest.raises(LeaseError, match="must be held by 'a' as reserved, got reserved held by 'c'"):
        bench.queue.commit(first.group_id, "a", b"late", bench.header(first.group_id))


def test_leases_expire_unless_their_holder_beats(make_bench):
    bench = make_bench(max_lag=3)
    queue = bench.queue
    bench.generate()
    bench.generate()
    bench.score_all()
    queue.lease_batch("learner", 0, 2)
    bench.generate()
    queue.lease_for_scoring("scorer", 1)
    queue.reserve("gen")
    bench.now = 99.0
    assert queue.heartbeat("learner") == 2
    bench.now = 100.0
    assert queue.expire() == 2
    stats = queue.stats()
    assert stats.depth == {"reserved": 0, "generated": 1, "scoring": 0, "scored": 0, "training": 2}
    assert (stats.returned_prompts, stats.leases_lost) == (1, 2)
    bench.now = 199.0
    assert queue.expire() == 2
    assert queue.stats().depth["scored"] == 2


def test_acknowledging_a_lost_batch_counts_what_is_still_held_and_names_the_rest(make_bench):
    bench = make_bench()
    bench.generate()
    bench.generate()
    bench.score_all()
    queue = bench.queue
    first, second = [lease.group_id for lease in queue.lease_batch("learner", 0, 2)]
    queue.abandon([first], "learner")
    with pytest.raises(LeaseError, match="1 of 2 groups could not be acknowledged"):
        queue.ack([first, second], "learner")
    assert queue.accounting().trained == 1
    assert queue.stats().depth["scored"] == 1


def test_a_dead_holder_gives_back_its_prompts_and_what_it_committed_stays(make_bench):
    bench = make_bench()
    bench.generate(holder="gen-0")
    kept = bench.queue.reserve("gen-0")
    assert bench.queue.release_holder("gen-0") == 1
    assert bench.queue.stats().depth["generated"] == 1
    assert bench.queue.reserve("gen-1").group_id == kept.group_id


def test_a_group_that_costs_one_scorer_after_another_is_quarantined(make_bench):
    bench = make_bench(max_losses=2)
    bench.generate()
    for scorer in ("scorer-0", "scorer-1"):
        bench.queue.lease_for_scoring(scorer, 1)
        bench.queue.release_holder(scorer)
    assert bench.queue.accounting().quarantined_by_reason == {"lost_too_often": 1}
    assert bench.queue.lease_for_scoring("scorer-2", 1) == []


def test_a_quarantined_group_is_counted_by_reason_and_kept_as_a_record(make_bench):
    bench = make_bench()
    group_id = bench.queue.reserve("gen").group_id
    bench.queue.quarantine(group_id, "gen", "reward_timeout", "no answer in 30 s")
    assert bench.queue.accounting().quarantined_by_reason == {"reward_timeout": 1}
    (record,) = bench.queue.take_quarantined()
    assert (record.group_id, record.prompt_id, record.error) == (group_id, "p0", "no answer in 30 s")
    assert (record.stage, record.prompt.images, record.images_elsewhere) == ("reward", (b"png",), False)
    assert bench.queue.take_quarantined() == []


def test_a_record_of_a_group_whose_payload_had_the_images_says_that_they_are_elsewhere(make_bench):
    bench = make_bench()
    bench.generate()
    (lease,) = bench.queue.lease_for_scoring("scorer", 1)
    bench.queue.quarantine(lease.group_id, "scorer", "score_error", "no")
    (record,) = bench.queue.take_quarantined()
    assert (record.stage, record.prompt.images, record.images_elsewhere) == ("score", (), True)


def test_the_images_of_records_that_wait_are_bounded(make_bench, monkeypatch):
    monkeypatch.setattr("pgpo_async.actors.ledger.MAX_RECORD_BYTES", 7)
    bench = make_bench()
    for _ in range(2):
        for _ in range(3):
            bench.queue.quarantine(bench.queue.reserve("gen").group_id, "gen", "reward_error", "e" * 20_000)
        records = bench.queue.take_quarantined()
        assert [record.prompt.images for record in records] == [(b"png",), (b"png",), ()]
        assert [record.images_elsewhere for record in records] == [False, False, True]
        assert all(len(record.error) == 10_000 for record in records)


class BadRows:
    def __init__(self, num_bad):
        self.num_bad = num_bad

    def prompt(self, index):
        if index < self.num_bad:
            raise PromptError("not an image", reason="corrupt_image", prompt_id=f"p{index}")
        return Prompt(prompt_id=f"p{index}", question="?", answer="!", index=index)


def test_unusable_rows_are_quarantined_and_the_next_one_is_drawn(make_bench):
    bench = make_bench(source=BadRows(3))
    assert bench.queue.reserve("gen").group_id == "g00000003"
    books = bench.queue.accounting()
    assert (books.drawn, books.pending, books.quarantined_by_reason) == (4, 1, {"corrupt_image": 3})


def test_a_source_without_usable_rows_ends_the_run_instead_of_a_search_for_ever(make_bench):
    bench = make_bench(source=BadRows(10**9))
    with pytest.raises(StageFailed, match="must have usable rows"):
        bench.queue.reserve("gen")
    assert bench.queue.accounting().balanced


def test_a_resumed_queue_draws_every_pending_prompt_again_and_no_ended_one(make_bench):
    bench = make_bench(max_lag=3)
    bench.generate()
    bench.generate(reward=1.0)
    bench.generate()
    given_back = bench.queue.reserve("gen").group_id
    bench.queue.give_back(given_back, "gen")
    resumed = make_bench(max_lag=3)
    state = QueueState.from_json(json.loads(json.dumps(bench.queue.state().as_json())))
    resumed.queue.rewind("step-2", state, at=2, to=2)
    drawn = [resumed.queue.reserve("gen").group_id for _ in range(4)]
    assert drawn == ["g00000000", "g00000002", "g00000003", "g00000004"]
    assert resumed.queue.version == 2
    books = resumed.queue.accounting()
    assert (books.drawn, books.filtered, books.pending) == (5, 1, 4)


def test_reservations_ask_for_weights_new_enough_to_train_in_time(make_bench):
    bench = make_bench(max_lag=1, groups_per_step=2)
    bench.queue.set_version(5)
    assert [bench.queue.reserve("gen").min_version for _ in range(4)] == [4, 4, 5, 5]


def test_means_over_generated_groups_include_the_filtered_ones(make_bench):
    bench = make_bench()
    bench.generate(reward=1.0)
    bench.generate(reward=0.5)
    assert bench.queue.take_generated() == {
        "reward": 0.75, "accuracy": 0.75, "response_tokens": 4.0, "num_groups": 2.0,
    }  # fmt: skip
    assert bench.queue.take_generated() == {}


def test_a_learner_back_at_a_checkpoint_goes_on_with_what_is_there(make_bench):
    bench = make_bench(max_lag=0)
    bench.queue.set_version(3)
    bench.generate(version=3)
    bench.generate(version=3)
    bench.score_all()
    assert len(bench.queue.lease_batch("learner", 1, 2)) == 2
    assert bench.queue.version == 1


def test_a_batch_leased_ahead_is_not_too_old_for_the_step_it_is_for(make_bench):
    bench = make_bench(max_lag=1, groups_per_step=1)
    bench.generate(version=0)
    bench.generate(version=0)
    bench.score_all()
    (now,) = bench.queue.lease_batch("learner", 1, 1)
    assert bench.queue.lease_batch("learner", 2, 1, ahead=True) is None, "its lag would be 2"
    assert bench.queue.version == 1, "the step before is still under way"
    bench.queue.ack([now.group_id], "learner")
    assert bench.queue.accounting().stale == 1
    bench.generate(version=1)
    bench.score_all()
    (ahead,) = bench.queue.lease_batch("learner", 2, 1, ahead=True)
    bench.queue.ack([ahead.group_id], "learner")
    assert bench.queue.version == 3
    assert bench.queue.stats().lag_histogram == {1: 2}
