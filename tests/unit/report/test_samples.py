from unittest.mock import patch

from pgpo_async.report import samples
from pgpo_async.report.samples import read_samples


def rewards(found):
    return [(sample.rank, sample.step, round(sample.reward, 2)) for sample in found]


def group(make, reward):
    return make(f"g{reward}", texts=["a"], rewards=[reward])


def test_the_best_and_worst_of_the_first_and_the_last_sampled_step(new_run, make_group):
    run = new_run()
    for step in (1, 5, 9):
        for number in range(6):
            run.sample(step, group(make_group, step / 10 + number / 100))
    found = read_samples(run.path)
    assert found.num_steps == 3
    assert rewards(found.last) == [
        ("best", 9, 0.95),
        ("best", 9, 0.94),
        ("worst", 9, 0.91),
        ("worst", 9, 0.9),
    ]
    assert [reward for _, step, reward in rewards(found.first) if step == 1] == [0.15, 0.14, 0.11, 0.1]


def test_steps_of_few_groups_are_joined_and_no_group_is_shown_twice(new_run, make_group):
    run = new_run()
    for step in (1, 2, 3):
        run.sample(step, group(make_group, step / 10)).sample(step, group(make_group, step / 10 + 0.05))
    found = read_samples(run.path)
    assert {sample.step for sample in found.last} == {2, 3}
    assert rewards(found.first) == [("best", 1, 0.15), ("worst", 1, 0.1)]


def test_one_group_alone_is_the_best(new_run, make_group):
    found = read_samples(new_run().sample(1, group(make_group, 0.5)).path)
    assert (rewards(found.last), found.first) == ([("best", 1, 0.5)], [])


def test_a_sample_that_cannot_be_decoded_is_counted(new_run, make_group):
    run = new_run().sample(1, group(make_group, 0.5))
    (run.path / "samples" / "step-00000001" / "x.arrow").write_bytes(b"torn")
    (run.path / "samples" / "step-later").mkdir()
    found = read_samples(run.path)
    assert (len(found.last), found.num_unreadable, found.num_steps) == (1, 1, 1)


def test_a_file_too_large_is_not_read(new_run, make_group):
    run = new_run().sample(1, group(make_group, 0.5))
    with patch.object(samples, "MAX_FILE_BYTES", 10):
        assert read_samples(run.path).num_unreadable == 1


def test_a_run_without_samples_has_none(new_run):
    assert read_samples(new_run().path).num_steps == 0
