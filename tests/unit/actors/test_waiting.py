"""Attempts that wait are made again at a change: in order, once a turn of the loop, and never lost."""

import asyncio
import threading

import pytest

from pgpo_async.actors.waiting import Changes


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 20))


class Counted:
    """An attempt at the next thing on a pile."""

    def __init__(self, pile):
        self.pile, self.num_attempts = pile, 0

    def __call__(self):
        self.num_attempts += 1
        return self.pile.pop(0) if self.pile else None


def waiting(changes, attempt, timeout_s=10.0, **other):
    return asyncio.create_task(changes.until(attempt, timeout_s, **other))


def test_changes_of_one_turn_cost_one_attempt_of_each_who_waits():
    async def scenario():
        changes, attempts = Changes(), [Counted([]) for _ in range(3)]
        tasks = [waiting(changes, attempt) for attempt in attempts]
        await asyncio.sleep(0)
        for _ in range(5):
            changes.wake()
        await asyncio.sleep(0.01)
        assert [attempt.num_attempts for attempt in attempts] == [2, 2, 2]
        changes.close()
        assert await asyncio.gather(*tasks) == [None, None, None]

    run(scenario())


def test_who_waits_longest_is_served_first_and_the_others_wait_on():
    async def scenario():
        changes, pile = Changes(), []
        tasks = [waiting(changes, Counted(pile)) for _ in range(3)]
        await asyncio.sleep(0)
        pile += ["a", "b"]
        changes.wake()
        assert await asyncio.gather(*tasks[:2]) == ["a", "b"]
        assert not tasks[2].done()
        pile.append("c")
        changes.wake()
        assert await tasks[2] == "c"

    run(scenario())


def test_what_an_attempt_changes_is_seen_by_those_before_it():
    async def scenario():
        changes, pile = Changes(), []
        first = waiting(changes, Counted(pile))
        await asyncio.sleep(0)

        def gives():
            if not ready:
                return None
            pile.append("given")
            changes.wake()
            return "gave"

        ready: list[bool] = []
        second = waiting(changes, gives)
        await asyncio.sleep(0)
        ready.append(True)
        changes.wake()
        assert await asyncio.gather(first, second) == ["given", "gave"]

    run(scenario())


def test_the_timeout_makes_one_last_attempt():
    async def scenario():
        changes, pile = Changes(), []
        assert await changes.until(Counted(pile), 0.0) is None
        task = waiting(changes, Counted(pile), timeout_s=0.05)
        await asyncio.sleep(0)
        pile.append("unannounced")
        assert await task == "unannounced"
        assert await changes.until(Counted(pile), 0.01) is None

    run(scenario())


def test_an_error_of_an_attempt_reaches_its_waiter_and_no_other():
    async def scenario():
        changes, pile, broken = Changes(), [], []

        def fails():
            if broken:
                raise OSError("disk")

        failing, other = waiting(changes, fails), waiting(changes, Counted(pile))
        await asyncio.sleep(0)
        broken.append(True)
        pile.append("fine")
        changes.wake()
        with pytest.raises(OSError, match="disk"):
            await failing
        assert await other == "fine"

    run(scenario())


def test_a_wait_that_ended_gets_nothing_and_takes_nothing():
    async def scenario():
        changes, pile, dead = Changes(), [], []
        task = waiting(changes, Counted(pile), ended=lambda: bool(dead))
        await asyncio.sleep(0)
        dead.append(True)
        pile.append("for another")
        changes.wake()
        assert await task is None
        assert await changes.until(Counted(pile), 1.0) == "for another"

    run(scenario())


def test_another_thread_may_wake():
    async def scenario():
        changes, pile = Changes(), []
        changes.wake_threadsafe()  # nobody waits, and nothing happens
        task = waiting(changes, Counted(pile))
        await asyncio.sleep(0)
        pile.append("read")
        threading.Thread(target=changes.wake_threadsafe).start()
        assert await task == "read"

    run(scenario())
