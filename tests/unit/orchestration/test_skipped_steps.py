"""Steps whose loss or gradient is not finite: kept aside, and so many in a row that the learner goes back."""

from types import SimpleNamespace

import pytest

from pgpo_async.config import RunConfig
from pgpo_async.contracts import StageFailed
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.skipped_steps import MAX_KEPT, SkippedSteps

LEASES = [SimpleNamespace(group_id=f"g0000000{i}", ref=f"payload {i}".encode()) for i in range(2)]
BAD, GOOD = {"loss": float("nan"), "skipped_step": 1.0}, {"loss": 0.1, "skipped_step": 0.0}


@pytest.fixture
def made(tmp_path):
    config = RunConfig.model_validate({"output_dir": str(tmp_path), "train": {"max_skipped_steps": 3}})
    folder = RunFolder(config)
    said = []
    folder.say = said.append
    return SimpleNamespace(steps=SkippedSteps(config, folder), folder=folder, said=said)


def test_the_batch_of_a_step_that_updated_nothing_is_kept_as_it_was_sent(made):
    made.steps.note(7, BAD, LEASES)
    home = made.folder.path / "skipped" / "step-00000007"
    assert {path.name: path.read_bytes() for path in home.iterdir()} == {
        "g00000000.arrow": b"payload 0",
        "g00000001.arrow": b"payload 1",
    }
    assert made.steps.total == 1
    assert any("step 7 updated nothing" in line for line in made.said)


def test_three_in_a_row_fail_the_learner_and_say_which(made):
    for step in (4, 5):
        made.steps.note(step, BAD, LEASES)
    with pytest.raises(StageFailed, match=r"3 steps in a row \(4, 5, 6; .* in skipped/") as caught:
        made.steps.note(6, BAD, LEASES)
    assert caught.value.role == "learner"
    made.steps.note(4, BAD, LEASES)  # counted anew after going back


def test_a_good_step_between_bad_ones_is_enough_to_go_on(made):
    for step in range(1, 20):
        made.steps.note(step, GOOD if step % 3 == 0 else BAD, LEASES)
    assert made.steps.total == 13
    assert len(list((made.folder.path / "skipped").iterdir())) == MAX_KEPT, "a disk has an end"
