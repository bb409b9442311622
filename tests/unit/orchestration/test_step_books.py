"""What was quarantined, from the queue's look into the run folder, and to the end of the run."""

from types import SimpleNamespace

import pytest

from pgpo_async.actors.queue_types import Quarantined, QueueLook
from pgpo_async.config import load_config
from pgpo_async.contracts import Accounting, Prompt, StageFailed
from pgpo_async.orchestration import step_books
from pgpo_async.orchestration.quarantine_file import read_quarantine
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.step_books import FinishedStep, StepBooks

LEASE = SimpleNamespace(group_id="g00000001", header=SimpleNamespace(oldest_version=0, mean_reward=0.5))


def record(index, images_elsewhere=False):
    prompt = Prompt(prompt_id=f"p{index}", question="q", answer="a", index=index)
    return Quarantined(
        group_id=f"g{index}",
        index=index,
        prompt_id=f"p{index}",
        reason="score_error",
        error=f"no score of p{index}",
        stage="score",
        prompt=prompt,
        images_elsewhere=images_elsewhere,
    )


def look(*records, quarantined, trained):
    accounting = Accounting(
        drawn=trained + quarantined,
        trained=trained,
        quarantined=quarantined,
        quarantined_by_reason={"score_error": quarantined},
    )
    stats = SimpleNamespace(accounting=accounting, summary=lambda: "as it is")
    return QueueLook(stats=stats, quarantined=records, generated={})


@pytest.fixture
def books(tmp_path, monkeypatch):
    monkeypatch.setattr(step_books.ray, "get", lambda answer, **_: answer)
    config = load_config("configs/local.yaml", [f"output_dir={tmp_path}", "train.min_quarantined=4"])
    folder = RunFolder(config)
    answers = []
    queue = SimpleNamespace(look=SimpleNamespace(remote=lambda: answers.pop(0)))
    quiet = SimpleNamespace(step_done=lambda *_: None, pipeline_now=dict)
    made = StepBooks(config, SimpleNamespace(queue=queue), folder, quiet)
    return SimpleNamespace(books=made, folder=folder, answers=answers)


def test_a_look_writes_each_record_with_its_images(books):
    books.answers += [look(record(0), record(1, images_elsewhere=True), quarantined=2, trained=9)]
    assert books.books.look() == "as it is"
    table = read_quarantine(books.folder.path)
    assert table["index"].to_pylist() == [0, 1]
    assert [len(images) for images in table["images"].to_pylist()] == [0, 1]
    assert table["images_left_out"].to_pylist() == [False, False]


def test_a_step_that_is_booked_ends_a_run_of_mostly_unusable_prompts(books):
    step = FinishedStep(
        number=1,
        version=1,
        look=look(*map(record, range(5)), quarantined=5, trained=4),
        leases=[LEASE],
        learner={},
        waited_s=0.0,
        step_s=1.0,
    )
    books.books.note(step)
    with pytest.raises(StageFailed, match=r"5 of 9 .*score_error \(5, for instance: no score of p0\)"):
        books.books.settle()
    assert (books.folder.path / "metrics.jsonl").read_text().count("\n") == 1, "its step is in the books"
    assert read_quarantine(books.folder.path).num_rows == 5
