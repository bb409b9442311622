"""The queue's shell without Ray: waiting, ticks, reading ahead. Its class is ordinary until it is placed."""

import asyncio
import threading
import time

import pytest

from pgpo_async.actors.prompt_prefetch import PromptPrefetch
from pgpo_async.actors.queue_actor import QueueActor
from pgpo_async.config.pipeline import QueueConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.training import TrainConfig
from pgpo_async.contracts import Prompt
from pgpo_async.orchestration.admission import Admission


class SlowSource:
    """Reads in a thread that is not the event loop's, and remembers the order."""

    def __init__(self, delay_s=0.0):
        self.delay_s, self.asked, self.threads = delay_s, [], set()

    def prompt(self, index):
        time.sleep(self.delay_s)
        self.asked.append(index)
        self.threads.add(threading.get_ident())
        return Prompt(prompt_id=f"p{index}", question="?", answer="!", index=index)


def make_actor(bench, source=None, **queue):
    config = RunConfig(train=TrainConfig(max_lag=0, groups_per_step=2), queue=QueueConfig(**queue))
    return QueueActor(config, Admission(0, 2), source or SlowSource(), store=bench.store)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 20))


async def one(actor, holder):
    (reservation,) = await actor.reserve(holder, 5.0)
    return reservation


async def two_generated(actor, bench):
    ids = [(await one(actor, "gen")).group_id for _ in range(2)]
    for group_id in ids:
        await actor.commit(group_id, "gen", b"generated", bench.header(group_id))
    return ids


def test_several_prompts_are_drawn_at_once_as_far_as_there_are_slots(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        assert len(await actor.reserve("gen", 5.0)) == 1
        assert [r.group_id for r in await actor.reserve("gen", 5.0, 3)] == ["g00000001"], "the last slot"
        assert await actor.reserve("gen", 0.05, 3) == []
        await actor.close()

    run(scenario())


def test_a_paused_queue_lends_no_prompts_until_it_goes_on(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        await actor.pause_intake(True)
        waiting = asyncio.create_task(actor.reserve("gen", 5.0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await actor.pause_intake(False)
        assert len(await waiting) == 1
        await actor.close()

    run(scenario())


def test_a_reservation_waits_for_the_slot_that_another_group_frees(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        first = await one(actor, "gen")
        await one(actor, "gen")
        waiting = asyncio.create_task(actor.reserve("gen", 5.0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        header = bench.header(first.group_id, reward=1.0)
        assert await actor.commit(first.group_id, "gen", b"x", header) == "filtered"
        assert [r.group_id for r in await waiting] == ["g00000002"]
        await actor.close()

    run(scenario())


def test_every_wait_ends_at_its_timeout_and_at_close_with_nothing(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        assert await actor.lease_for_scoring("scorer", 4, 0.05) == []
        assert await actor.lease_batch("learner", 0, 2, 0.05) is None
        waits = [
            asyncio.create_task(actor.lease_batch("learner", 0, 2, 60.0)),
            asyncio.create_task(actor.lease_for_scoring("scorer", 4, 60.0)),
        ]
        await asyncio.sleep(0.05)
        await actor.close()
        assert await asyncio.gather(*waits) == [None, []]
        assert await actor.reserve("gen", 60.0) == []

    run(scenario())


def test_a_dead_holders_wait_gets_nothing_and_its_successor_gets_the_prompt(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        held = [await one(actor, "gen-0") for _ in range(2)]
        waiting = asyncio.create_task(actor.reserve("gen-0", 5.0))
        await asyncio.sleep(0.02)
        assert await actor.release_holder("gen-0") == 2
        assert await waiting == []
        assert (await one(actor, "gen-0")).group_id == held[0].group_id
        await actor.close()

    run(scenario())


def test_a_lease_that_expires_wakes_who_waits_for_its_group(make_bench, monkeypatch):
    monkeypatch.setattr("pgpo_async.actors.queue_actor.TICK_S", 0.05)
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench, lease_timeout_s=0.3)
        reservation = await one(actor, "gen")
        await actor.commit(reservation.group_id, "gen", b"x", bench.header(reservation.group_id))
        assert len(await actor.lease_for_scoring("dies", 4, 5.0)) == 1
        (lease,) = await actor.lease_for_scoring("lives", 4, 5.0)
        assert lease.group_id == reservation.group_id
        await actor.close()

    run(scenario())


def test_prompts_are_read_ahead_in_a_thread_in_their_order(make_bench):
    bench, source = make_bench(), SlowSource(delay_s=0.01)

    async def scenario():
        actor = make_actor(bench, source)
        assert (await one(actor, "gen")).prompt.prompt_id == "p0"
        assert (await one(actor, "gen")).prompt.prompt_id == "p1"
        await asyncio.sleep(0.3)
        await actor.close()

    run(scenario())
    assert source.asked == list(range(17)), "16 ahead of the last one asked for"
    assert threading.get_ident() not in source.threads


def test_a_payload_in_parts_is_stored_whole(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        group_id = (await one(actor, "gen")).group_id
        assert await actor.commit(group_id, "gen", b"ge", bench.header(group_id), b"nera", b"ted") == "queued"
        (lease,) = await actor.lease_for_scoring("scorer", 1, 5.0)
        assert bench.store[lease.ref] == b"generated"
        assert await actor.commit_scores(group_id, "scorer", b"sc", None, b"ored") == "queued"
        assert list(bench.store.values()) == [b"generated", b"scored"]
        assert (await actor.stats()).num_bytes == len(b"scored")
        await actor.close()

    run(scenario())


def test_scores_of_several_groups_come_in_one_message_and_a_lost_lease_spoils_only_its_own(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        ids = await two_generated(actor, bench)
        await actor.lease_for_scoring("scorer", 2, 5.0)
        await actor.abandon([ids[0]], "scorer")
        await actor.commit_several_scores("scorer", {ids[0]: b"late", ids[1]: b"scored"})
        depth = (await actor.stats()).depth
        assert (depth["generated"], depth["scored"]) == (1, 1)
        assert b"late" not in bench.store.values()
        await actor.close()

    run(scenario())


def test_a_scorer_lingers_for_a_fuller_pass_only_while_the_learner_is_at_work(make_bench):
    bench = make_bench()

    async def scenario():
        actor = make_actor(bench)
        ids = await two_generated(actor, bench)
        began_s = time.monotonic()
        assert len(await actor.lease_for_scoring("scorer", 8, 5.0, 4.0)) == 2, "the learner waits for both"
        await actor.commit_several_scores("scorer", dict.fromkeys(ids, b"scored"))
        assert len(await actor.lease_batch("learner", 0, 2, 5.0)) == 2
        assert await actor.lease_for_scoring("scorer", 8, 0.0, 0.2) == []
        assert time.monotonic() - began_s < 2.0
        lingering = asyncio.create_task(actor.lease_for_scoring("scorer", 8, 5.0, 10.0))
        await actor.finish_step(ids, "learner")
        again = [(await one(actor, "gen")).group_id for _ in range(2)]
        await actor.commit(again[0], "gen", b"generated", bench.header(again[0], version=1))
        assert len(await asyncio.wait_for(lingering, 5.0)) == 1, "it waits no longer than the learner's step"
        await actor.commit(again[1], "gen", b"generated", bench.header(again[1], version=1))
        assert await actor.lease_backlog("scorer", 2) == [], "ahead only where a whole pass is waiting"
        assert len(await actor.lease_backlog("scorer", 1)) == 1
        await actor.close()

    run(scenario())


def test_reading_ahead_wakes_nobody_unless_a_prompt_was_asked_for_in_vain():
    calls, slow = [], SlowSource(delay_s=0.02)
    prefetch = PromptPrefetch(slow, 4, lambda: calls.append(len(slow.asked)))
    assert prefetch.prompt(0) is None
    deadline = time.monotonic() + 5
    while not calls and time.monotonic() < deadline:
        time.sleep(0.001)
    assert prefetch.prompt(0).index == 0
    told = len(calls)
    while len(slow.asked) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert len(calls) == told, "the others were read, nobody waits for them"
    prefetch.close()


def test_a_source_that_fails_once_is_asked_again():
    class Flaky(SlowSource):
        def prompt(self, index):
            self.asked.append(index)
            if self.asked.count(index) == 1:
                raise OSError("disk")
            return Prompt(prompt_id="p", question="?", answer="!", index=index)

    prefetch = PromptPrefetch(Flaky(), 1, lambda: None)

    def outcome():
        deadline = time.monotonic() + 5
        while (prompt := prefetch.prompt(0)) is None and time.monotonic() < deadline:
            time.sleep(0.001)
        return prompt

    with pytest.raises(OSError, match="disk"):
        outcome()
    assert outcome().index == 0
    prefetch.close()
