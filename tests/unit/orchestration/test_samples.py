from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.config import load_config
from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, ScoredGroup, VersionSpan, decode, encode
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.samples import Samples, extremes


def lease(number, reward=0.5, *, scored=True):
    rollout = Rollout(
        response_token_ids=np.array([1, 2], np.int32),
        behaviour_logprobs=np.array([-1.0, -2.0], np.float32),
        version_spans=(VersionSpan(version=0, start=0, end=2),),
        finish_reason="stop",
        text="red",
        reward=reward,
    )
    group = RolloutGroup(
        group_id=f"g{number}",
        prompt=Prompt(prompt_id=f"p{number}", question="?", answer="red"),
        prompt_token_ids=np.array([5], np.int32),
        rollouts=(rollout,),
    )
    payload = encode(ScoredGroup.unscored(group) if scored else group)
    return SimpleNamespace(group_id=group.group_id, ref=payload, header=group.header())


@pytest.fixture
def samples(tmp_path):
    def make(*overrides, num_steps=100):
        config = load_config("configs/local.yaml", [f"output_dir={tmp_path}", *overrides])
        folder = RunFolder(config)
        return Samples(config.metrics, folder, num_steps), folder.path / "samples"

    return make


def test_the_first_the_last_and_regular_steps_are_sampled(samples):
    made, _ = samples("metrics.samples_every=10", num_steps=25)
    assert [step for step in range(1, 26) if made.due(step)] == [1, 10, 20, 25]
    none, _ = samples("metrics.samples_every=0")
    assert not any(none.due(step) for step in range(1, 101))


def test_the_best_and_the_worst_group_are_kept_as_they_were(samples):
    made, home = samples()
    leases = [lease(number, reward) for number, reward in enumerate((0.3, 0.9, 0.1, 0.5))]
    kept = made.keep(1, leases)
    assert kept == [leases[1].ref, leases[2].ref]
    files = sorted(home.glob("step-00000001/*.arrow"))
    assert [path.name for path in files] == ["g1.arrow", "g2.arrow"]
    assert decode(files[0].read_bytes()).group.rollouts[0].reward == 0.9


def test_a_group_that_no_scorer_saw_is_kept_as_one_that_is_not_measured(samples):
    made, home = samples()
    made.keep(1, [lease(0, scored=False)])
    (path,) = home.glob("*/*.arrow")
    found = decode(path.read_bytes())
    assert isinstance(found, ScoredGroup)
    assert np.isnan(found.dependency[0]).all()


def test_a_step_that_is_done_again_replaces_its_samples(samples):
    made, home = samples()
    made.keep(1, [lease(0)])
    made.keep(1, [lease(1)])
    assert [path.name for path in home.glob("*/*")] == ["g1.arrow"]


def test_what_is_kept_stays_bounded_and_spans_the_run(samples):
    made, home = samples("metrics.samples_every=1", "metrics.keep_samples=8", num_steps=200)
    for step in range(1, 201):
        if made.due(step):
            made.keep(step, [lease(step)])
    steps = [int(path.name.removeprefix("step-")) for path in sorted(home.iterdir())]
    assert len(steps) <= 8
    assert steps[0] == 1
    assert steps[-1] == 200
    gaps = np.diff(steps)
    assert gaps.max() <= 64, steps


@given(st.lists(st.floats(0, 1), max_size=12), st.integers(1, 6))
def test_extremes_come_from_both_ends_without_repeating(rewards, count):
    groups = [
        SimpleNamespace(group_id=f"g{n}", header=SimpleNamespace(mean_reward=r))
        for n, r in enumerate(rewards)
    ]
    chosen = [group.header.mean_reward for group in extremes(groups, count)]
    assert len(chosen) == min(count, len(rewards))
    assert len({group.group_id for group in extremes(groups, count)}) == len(chosen)
    ranked = sorted(rewards, reverse=True)
    best, worst = chosen[::2], chosen[1::2]
    assert best == ranked[: len(best)]
    assert worst == ranked[::-1][: len(worst)]
