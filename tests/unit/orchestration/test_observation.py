from types import SimpleNamespace

import pytest

from pgpo_async.actors.queue_types import GroupState, QueueStats
from pgpo_async.contracts import Accounting
from pgpo_async.metrics.board import Board
from pgpo_async.metrics.busy_shares import BusyShares
from pgpo_async.orchestration import pulses
from pgpo_async.orchestration.board_feed import BoardFeed
from pgpo_async.orchestration.observation import Observation, doing_of, state_of, wait_reason
from pgpo_async.orchestration.pulses import Pulses, Reading
from pgpo_async.orchestration.roll_call import Member

VITALS = {"host": "here", "pid": 7, "rss_bytes": 1000, "gpus": {}}
IDLE = {"waiting_for": "an admission slot", "prompts_in_flight": 0}
GENERATOR = {
    **VITALS, **IDLE, "version": 3, "busy_s": 1.0, "num_updates": 0, "update_pauses_s": [], "num_prompts": 5,
    "prompts_in_flight_limit": 32, "cache_use": 0.5, "num_waiting": 0, "num_preempted": 0, "num_cancelled": 0,
}  # fmt: skip


class Calls:
    """Stands for Ray: calls that are answered when a test says so."""

    def __init__(self, monkeypatch):
        self.made, self.answers = [], {}
        self.now_s = 100.0
        fake = SimpleNamespace(wait=self._wait, get=self._get)
        monkeypatch.setattr(pulses, "ray", fake)
        monkeypatch.setattr(pulses.time, "monotonic", lambda: self.now_s)

    def member(self, name, role="generator"):
        def ask():
            self.made.append(name)
            return f"{name} {self.made.count(name)}"

        return Member(name, role, ask)

    def _wait(self, calls, **_):
        ready = [call for call in calls if call in self.answers]
        return ready, [call for call in calls if call not in self.answers]

    def _get(self, call):
        answer = self.answers[call]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_an_actor_is_asked_once_and_its_silence_grows_until_it_answers(monkeypatch):
    calls, looks = Calls(monkeypatch), Pulses()
    one = calls.member("generator-0")
    calls.answers["generator-0 1"] = GENERATOR
    (reading,) = looks.look([one])
    assert (reading.state, reading.silent_s, reading.answer) == ("answers", 0.0, GENERATOR)
    for passed_s, state, silent_s in ((2.0, "answers", 0.0), (5.0, "answers", 0.0), (9.0, "silent", 9.0)):
        calls.now_s = 100.0 + passed_s
        (reading,) = looks.look([one])
        assert (reading.state, reading.silent_s) == (state, silent_s)
        assert reading.answer == GENERATOR, "what it last said"
    assert calls.made == ["generator-0"] * 2, "not asked again before it answers"
    calls.answers["generator-0 2"] = GENERATOR
    (reading,) = looks.look([one])
    assert reading.state == "answers"


def test_a_dead_actor_a_new_one_and_one_that_starts(monkeypatch):
    calls, looks = Calls(monkeypatch), Pulses()
    calls.answers["generator-0 1"] = RuntimeError("died")
    (reading,) = looks.look([calls.member("generator-0")])
    assert reading.answer is None
    starting = Member("generator-0.1", "generator", None, 12.0)
    (reading,) = looks.look([starting])
    assert (reading.state, doing_of(reading), state_of(reading)) == ("starting", "starting", "starting")
    assert reading.silent_s == 0.0


def reading(name, role, answer, state="answers", silent_s=0.0):
    return Reading(name=name, role=role, state=state, answer=answer, age_s=silent_s, silent_s=silent_s)


@pytest.mark.parametrize(
    ("role", "answer", "state", "doing"),
    [
        ("generator", IDLE, "waiting", "0 prompts in flight, waits for an admission slot"),
        (
            "generator",
            {**IDLE, "prompts_in_flight": 3},
            "working",
            "3 prompts in flight, waits for an admission slot",
        ),
        ("scorer", {"waiting_for": "generated groups"}, "waiting", "waits for generated groups"),
        ("scorer", {"waiting_for": "its own passes"}, "working", "its own passes"),
        ("learner", {"doing": "idle", "for_s": 2.0}, "waiting", "idle (for 2.0 s)"),
        ("learner", {"doing": "update of step 3", "for_s": 2.0}, "working", "update of step 3 (for 2.0 s)"),
        ("reward", {"waiting_for": "groups to verify"}, "waiting", "waits for groups to verify"),
        ("store", {"latest": 4}, "working", "version 4"),
        ("store", {"latest": None}, "working", "empty"),
    ],
)
def test_each_role_says_what_it_does(role, answer, state, doing):
    seen = reading("x", role, answer)
    assert (state_of(seen), doing_of(seen)) == (state, doing)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("an admission slot (all 96 are held)", "slot"),
        ("room (max_groups 4 is reached)", "groups"),
        ("bytes (max_bytes 4 is reached, 5 are held)", "bytes"),
        ("the prompt source", "source"),
        ("a generated group (4 are being generated)", "generation"),
        ("the turn of generation to end (4 in flight, 3 to come)", "generation"),
        ("32 scored groups (4 are there)", "scores"),
        ("group g0001, which train.order_window (4) has overtaken", "order"),
        ("something new", "other"),
    ],
)
def test_what_the_queue_waits_for_is_counted_under_a_fixed_word(text, reason):
    assert wait_reason(text) == reason


def stats(**changes):
    values = {
        "version": 3, "cursor": 9, "depth": dict.fromkeys(GroupState, 0), "returned_prompts": 0,
        "slots_available": 60, "num_slots": 96, "lag_bound": 2, "slots_charged": {}, "slots_released": {},
        "num_bytes": 10, "max_bytes": 100, "accounting": Accounting(drawn=9, trained=4, pending=5),
        "lag_histogram": {}, "mixed_rollouts_trained": 0, "leases_lost": 0, "waiting": {},
    }  # fmt: skip
    return QueueStats(**{**values, **changes})


def shown(board, name, **labels):
    return next(
        value
        for _, found, has, value in board.samples()
        if found == name and all(has[key] == wanted for key, wanted in labels.items())
    )


def look(*readings, **facts):
    return Observation(readings=readings, doing="training", doing_s=1.0, **facts)


def test_a_look_becomes_metrics_by_role_with_every_state():
    board = Board("r")
    feed, busy = BoardFeed(board), BusyShares()
    queue = reading(
        "queue", "queue", {"stats": stats(waiting={"batch": "32 scored groups (4 are there)"}), **VITALS}
    )
    silent = reading("generator-1", "generator", GENERATOR, "silent", 33.0)
    feed.look(
        look(queue, reading("generator-0", "generator", GENERATOR), silent, wanted={"generator": 2}), busy
    )
    assert shown(board, "pgpo_actors", role="generator", doing="waiting") == 1
    assert shown(board, "pgpo_actors", role="generator", doing="silent") == 1
    assert shown(board, "pgpo_actors", role="generator", doing="starting") == 0
    assert shown(board, "pgpo_wanted_actors", role="generator") == 2
    assert shown(board, "pgpo_silence_seconds", role="generator") == 33.0
    assert shown(board, "pgpo_timeouts_total", what="answer") == 1
    assert shown(board, "pgpo_queue_waits", side="batch", reason="scores") == 1
    assert shown(board, "pgpo_queue_waits", side="batch", reason="order") == 0
    assert shown(board, "pgpo_admission_slots", kind="held") == 36
    assert shown(board, "pgpo_prompts_total", end="drawn") == 9
    assert shown(board, "pgpo_resident_bytes", role="generator") == 2000
    feed.look(look(silent, wanted={"generator": 2}), busy)
    assert shown(board, "pgpo_timeouts_total", what="answer") == 1, "still the same silence"


def test_pauses_are_observed_once_each_and_counts_of_a_replacement_go_on():
    board = Board("r")
    feed, busy = BoardFeed(board), BusyShares()

    def seen(name, pauses, cancelled):
        answer = {
            **GENERATOR,
            "num_updates": len(pauses),
            "update_pauses_s": pauses[-4:],
            "num_cancelled": cancelled,
        }
        feed.look(look(reading(name, "generator", answer)), busy)

    seen("generator-0", [0.1, 0.1], 3)
    seen("generator-0", [0.1, 0.1], 3)
    seen("generator-0", [0.1] * 7, 4)  # five new, of which four are still kept
    assert shown(board, "pgpo_update_pause_seconds_count") == 6
    assert shown(board, "pgpo_weight_updates_total", role="generator") == 7
    seen("generator-0.1", [0.2], 1)
    assert shown(board, "pgpo_update_pause_seconds_count") == 7
    assert shown(board, "pgpo_cancelled_groups_total") == 5
    assert shown(board, "pgpo_weight_updates_total", role="generator") == 8


def test_gpus_that_two_actors_share_count_once():
    board = Board("r")
    gpus = {"0": (30, 80, 0.5)}
    both = [
        reading(
            f"scorer-{n}",
            "scorer",
            {**VITALS, "gpus": gpus, "waiting_for": "run", "version": 1, "num_updates": 0},
        )
        for n in (0, 1)
    ]
    BoardFeed(board).look(look(*both), BusyShares())
    assert shown(board, "pgpo_gpu_memory_bytes", role="scorer", kind="used") == 30
    assert shown(board, "pgpo_gpu_memory_bytes", role="scorer", kind="limit") == 80
    assert shown(board, "pgpo_gpu_use_ratio", role="scorer") == 0.5
