from pgpo_async.metrics.collapse import CollapseDetector


def warnings(rewards, entropies, window=4):
    detector = CollapseDetector(window=window)
    found = {}
    for step, (reward, entropy) in enumerate(zip(rewards, entropies, strict=True), start=1):
        said = detector.add(step, reward=reward, entropy=entropy)
        if said:
            found[step] = said
    return found


FALLING, RISING, FLAT = [0.8] * 4 + [0.6] * 4, [0.2] * 4 + [0.4] * 4, [0.5] * 8


def test_reward_down_and_entropy_up_warns_with_the_step_and_both_figures():
    (step, said), *more = warnings(FALLING, RISING).items()
    # Three low steps of four already lower the mean by 0.15; two raise the entropy by half.
    assert step == 8
    assert not more
    assert said.startswith("step 8: reward fell from 0.800 to 0.600 while entropy rose from 0.200 to 0.400")


def test_either_alone_is_no_alarm():
    assert not warnings(FALLING, FLAT)
    assert not warnings(FLAT, RISING)
    assert not warnings(FALLING[::-1], RISING)


def test_a_going_collapse_is_told_again_after_as_many_steps_and_not_at_each():
    rewards = [1.0 - 0.05 * i for i in range(20)]
    entropies = [0.1 * 1.2**i for i in range(20)]
    assert list(warnings(rewards, entropies)) == [8, 16]


def test_steps_without_a_figure_do_not_count():
    nan = float("nan")
    assert list(warnings([nan, *FALLING], [0.1, *RISING])) == [9]
