"""The real queue and admission in virtual time: golden step times, and what holds over random schedules."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgpo_async.actors.replay_queue import ReplayQueue
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt, StageFailed
from pgpo_async.orchestration.admission import Admission
from pgpo_async.orchestration.planning.simulation import Death, make_pipe, simulate
from pgpo_async.orchestration.service_times import ServiceTimes


def run_config(
    *,
    scoring=True,
    mode="async",
    generators=1,
    in_flight=4,
    scorers=1,
    lease=8,
    queue=None,
    update_share=0.25,
    **train,
):
    return RunConfig.model_validate(
        {
            "mode": mode,
            "train": {"groups_per_step": 8, "max_lag": 2, **train},
            "generator": {"replicas": generators, "prompts_in_flight": in_flight},
            "scorer": {"replicas": scorers, "groups_per_lease": lease},
            "algorithm": {"shaper": {"name": "pgpo" if scoring else "none"}},
            "queue": queue or {},
            "weights": {"update_share": update_share},
        }
    )


class Numbered:
    def prompt(self, index):
        return Prompt(prompt_id=f"p{index}", question="?", answer="!", index=index)


class DictStore(dict):
    def put(self, data):
        self[len(self)] = data
        return len(self) - 1


# Golden values, by hand


@pytest.mark.parametrize("scoring", [True, False])
def test_a_slow_learner_sets_the_step_time(scoring):
    times = ServiceTimes(generate_s=1.0, score_s=0.5, learn_s=3.0, publish_s=0.1, load_s=0.1)
    result = simulate(run_config(scoring=scoring), times)
    assert result.step_s == pytest.approx(3.0)
    assert result.busy_share["learn"] == pytest.approx(1.0)
    assert result.overlap_efficiency == pytest.approx(1.0)
    assert result.learner_wait_fraction == pytest.approx(0.0, abs=1e-9)
    # Always full: what trains was admitted two steps before the one that trains it.
    assert result.lag_histogram[2] > 0.9 * 8 * 100


def test_slow_generators_set_the_step_time():
    times = ServiceTimes(generate_s=1.0, score_s=0.1, learn_s=0.1)
    result = simulate(run_config(generators=2, in_flight=2), times)
    assert result.step_s == pytest.approx(1.0 * 8 / 4)
    assert result.busy_s["generate"] == pytest.approx(2.0)
    assert result.busy_share["score"] == pytest.approx(0.05)
    assert result.learner_wait_fraction == pytest.approx(0.95)


def test_slow_scorers_set_the_step_time():
    times = ServiceTimes(generate_s=0.5, score_s=4.0, learn_s=0.5)
    result = simulate(run_config(scorers=2, lease=2), times)
    assert result.step_s == pytest.approx(4.0 / 2, rel=1e-3)
    assert result.busy_share["score"] == pytest.approx(1.0, rel=1e-3)


def test_in_turns_a_step_takes_the_sum_of_the_turns():
    times = ServiceTimes(generate_s=1.0, score_s=0.5, learn_s=3.0, publish_s=0.2, load_s=0.1)
    result = simulate(run_config(mode="sync"), times)
    # Eight groups four at a time, one lease, one step, its publication, its loading.
    assert result.step_s == pytest.approx(2 * 1.0 + 0.5 + 3.0 + 0.2 + 0.1)
    assert result.lag_histogram == {0: 800}
    assert result.most_groups_held == 8


@pytest.mark.parametrize(("share", "turns"), [(0.25, 4), (0.5, 2), (1.0, 1)])
def test_generators_load_in_turns_as_many_at_once_as_may(share, turns):
    times = ServiceTimes(generate_s=1.0, score_s=0.5, learn_s=3.0, load_s=0.1)
    config = run_config(mode="sync", generators=4, in_flight=1, groups_per_step=4, update_share=share)
    # Each has one of the four prompts: the last starts when the last engine has loaded.
    assert simulate(config, times).step_s == pytest.approx(turns * 0.1 + 1.0 + 0.5 + 3.0)


def test_filtered_groups_are_generated_in_vain():
    times = ServiceTimes(generate_s=1.0, score_s=0.1, learn_s=0.1, filtered_share=0.5)
    result = simulate(run_config(), times, num_steps=400)
    assert result.step_s == pytest.approx(2 * 2.0, rel=0.05)
    assert result.busy_s["generate"] == pytest.approx(result.step_s, rel=0.01)
    assert result.accounting.filtered == pytest.approx(result.accounting.trained, rel=0.1)


def test_busy_times_are_those_that_the_service_times_predict():
    times = ServiceTimes(
        generate_s=1.0, score_s=0.7, learn_s=0.9, generate_sigma=0.6, score_sigma=0.3, filtered_share=0.2
    )
    config = run_config(generators=2, scorers=2, in_flight=3)
    assert simulate(config, times, num_steps=300).busy_s == pytest.approx(
        times.busy_per_step(config), rel=0.05
    )


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    times = ServiceTimes(generate_s=1.0, score_s=0.7, learn_s=0.9, generate_sigma=1.0, filtered_share=0.2)
    first, again, other = (simulate(run_config(), times, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_dead_generator_costs_its_share_of_the_pace():
    times = ServiceTimes(generate_s=1.0, score_s=0.1, learn_s=0.1)
    away = [Death(at_s=5.0, role="generator", index=0, away_s=1e6)]
    result = simulate(run_config(generators=2), times, deaths=away)
    assert result.step_s == pytest.approx(2 * 1.0)


# What must raise


def test_a_queue_that_never_holds_a_batch_is_told_with_what_it_waits_for():
    times = ServiceTimes(generate_s=1.0, score_s=0.5, learn_s=3.0)
    config = run_config(queue={"max_bytes": 4000})
    with pytest.raises(StageFailed, match=r"nothing can happen any more after 0 of 100 .*max_bytes 4,000"):
        simulate(config, times, group_bytes=1000)


def test_a_run_that_goes_in_a_circle_is_told_with_what_it_waits_for():
    def never_done(config, clock):
        queue, admission = make_pipe(config, clock)
        queue.commit = lambda group_id, holder, _payload, _header: queue.give_back(group_id, holder)
        return queue, admission

    times = ServiceTimes(generate_s=1.0, score_s=0.5, learn_s=3.0)
    with pytest.raises(StageFailed, match=r"no step ends any more after 0 of 100 .* 8 scored groups"):
        simulate(run_config(), times, make=never_done)


def test_a_death_of_nobody_is_refused():
    times = ServiceTimes(generate_s=1.0, score_s=0.5, learn_s=3.0)
    with pytest.raises(ValueError, match="must be below the 1 scorers, got 1"):
        simulate(run_config(), times, deaths=[Death(at_s=1.0, role="scorer", index=1, away_s=1.0)])


# Over random schedules


def check(config, times, *, deaths=(), seed=0, num_steps=12, make=make_pipe):
    """Run a schedule to its last step; slots, books and lag are checked at every moment."""
    bound, slots = config.max_lag, config.max_slots

    def watch(queue, admission):
        stats = queue.stats()
        held = sum(stats.depth.values())
        assert admission.available + held == admission.num_slots == slots, "a slot has leaked"
        assert sum(admission.charged.values()) == held + sum(admission.released.values()), (
            "a slot is counted twice"
        )
        assert stats.accounting.balanced
        assert stats.accounting.pending == held + stats.returned_prompts

    result = simulate(config, times, deaths=deaths, seed=seed, num_steps=num_steps, make=make, watch=watch)
    assert result.lag_max <= bound, f"lag {result.lag_histogram}"
    assert result.accounting.trained == num_steps * config.train.groups_per_step
    assert result.most_groups_held <= slots
    return result


seconds = st.floats(0.0, 3.0)
sigmas = st.sampled_from([0.0, 0.5, 2.0])


@st.composite
def schedules(draw):
    max_lag, size = draw(st.integers(0, 3)), draw(st.integers(1, 6))
    generators, scorers = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    config = run_config(
        scoring=draw(st.booleans()),
        mode=draw(st.sampled_from(["async", "async", "async", "sync"])),
        generators=generators,
        in_flight=draw(st.integers(1, 8)),
        scorers=scorers,
        lease=draw(st.integers(1, 8)),
        groups_per_step=size,
        max_lag=max_lag,
        order_window=draw(st.none() | st.integers(0, max_lag * size)),
        update_share=draw(st.sampled_from([0.25, 0.7, 1.0])),
    )
    times = ServiceTimes(
        generate_s=draw(seconds),
        score_s=draw(seconds),
        learn_s=draw(seconds),
        generate_sigma=draw(sigmas),
        score_sigma=draw(sigmas),
        learn_sigma=draw(sigmas),
        # Above a minute, prompts no longer wait for weights that are fresh enough for them.
        publish_s=draw(st.floats(0.0, 5.0) | st.just(100.0)),
        load_s=draw(st.floats(0.0, 2.0)),
        filtered_share=draw(st.sampled_from([0.0, 0.0, 0.3, 0.8])),
    )
    roles = ["generator", "scorer"] if config.uses_scorers else ["generator"]
    deaths = [
        Death(
            at_s=draw(st.floats(0.0, 30.0)),
            role=(role := draw(st.sampled_from(roles))),
            index=draw(st.integers(0, (generators if role == "generator" else scorers) - 1)),
            away_s=draw(st.floats(0.0, 10.0)),
        )
        for _ in range(draw(st.integers(0, 6)))
    ]
    return config, times, deaths


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schedules(), st.integers(0, 1000))
def test_every_schedule_ends_within_its_lag_with_all_slots_and_prompts_accounted_for(schedule, seed):
    config, times, deaths = schedule
    check(config, times, deaths=deaths, seed=seed)


# That the check can fail

STRAGGLERS = ServiceTimes(
    generate_s=1.0,
    score_s=0.3,
    learn_s=0.5,
    generate_sigma=2.0,
    score_sigma=1.0,
    publish_s=0.4,
    filtered_share=0.1,
)


def pipe(config, clock, *, admission, max_lag):
    queue = ReplayQueue(
        admission=admission,
        source=Numbered(),
        store=DictStore(),
        max_lag=max_lag,
        config=config.queue,
        group_filter=config.algorithm.filter,
        scoring=config.uses_scorers,
        clock=clock,
    )
    return queue, admission


def stated(config, kind=Admission, *, more_lag=0):
    return kind(config.max_lag + more_lag, config.train.groups_per_step, config.order_window)


class Forgetful(Admission):
    def release(self, group_id, reason):
        if reason != "filtered":
            super().release(group_id, reason)


def a_lease_one_step_too_generous(config, clock):
    return pipe(config, clock, admission=stated(config), max_lag=config.max_lag + 1)


def a_step_more_everywhere(config, clock):
    return pipe(config, clock, admission=stated(config, more_lag=1), max_lag=config.max_lag + 1)


def filtered_groups_that_keep_their_slots(config, clock):
    return pipe(config, clock, admission=stated(config, Forgetful), max_lag=config.max_lag)


def the_pipe_made_here(config, clock):
    return pipe(config, clock, admission=stated(config), max_lag=config.max_lag)


def failures(make, **train):
    """What the check says about a pipe over some schedules; empty if it finds nothing."""
    config, found = run_config(in_flight=8, groups_per_step=3, **train), []
    for seed in range(6):
        try:
            check(config, STRAGGLERS, seed=seed, num_steps=30, make=make)
        except AssertionError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("make", [make_pipe, the_pipe_made_here])
@pytest.mark.parametrize("window", [None, 0, 2])
def test_the_check_finds_nothing_in_the_pipe_as_it_is(make, window):
    assert failures(make, order_window=window) == []


@pytest.mark.parametrize(
    ("make", "train", "told"),
    [
        (a_lease_one_step_too_generous, {"max_lag": 1}, "lag "),
        (a_lease_one_step_too_generous, {"max_lag": 2}, "lag "),
        (a_step_more_everywhere, {"max_lag": 0}, "a slot has leaked"),
        (filtered_groups_that_keep_their_slots, {}, "a slot has leaked"),
    ],
)
def test_a_planted_fault_is_found_by_the_check(make, train, told):
    assert any(text.startswith(told) for text in failures(make, **train))


@pytest.mark.parametrize("max_lag", [0, 1, 2])
def test_a_step_more_everywhere_shows_in_the_lag(max_lag):
    """Without the check of the slots, too: with a window of order, slots alone set the lag."""
    config = run_config(in_flight=8, groups_per_step=3, max_lag=max_lag, order_window=0)
    result = simulate(config, STRAGGLERS, num_steps=30, make=a_step_more_everywhere)
    assert result.lag_max == max_lag + 1
