import json

import pytest

from pgpo_async.contracts import WeightError
from pgpo_async.learner import checkpoint
from pgpo_async.learner.checkpoint import CheckpointInfo


def info(tag, step=5):
    return CheckpointInfo(tag=tag, step=step, world_size=2, zero_stage=1)


def save(folder, tag, step=5):
    checkpoint.prepare(folder, tag)
    (folder / tag / "inner").mkdir()
    (folder / tag / "rank0.pt").write_bytes(b"zero" * 100)
    (folder / tag / "inner" / "rank1.pt").write_bytes(b"one" * 100)
    checkpoint.commit(folder, info(tag, step))


def test_a_committed_checkpoint_is_the_latest_and_whole(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    save(tmp_path, "a", 5)
    save(tmp_path, "b", 6)
    assert checkpoint.latest(tmp_path) == info("b", 6)
    checkpoint.verify(tmp_path, "b")
    assert not list(tmp_path.rglob("*.new"))


def test_a_crash_before_the_commit_leaves_the_last_checkpoint(tmp_path):
    save(tmp_path, "a")
    checkpoint.prepare(tmp_path, "b")
    (tmp_path / "b" / "rank0.pt").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) == info("a")
    save(tmp_path, "b")
    checkpoint.verify(tmp_path, "b")


def _flip(folder):
    path = folder / "a" / "inner" / "rank1.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def _lose(folder):
    (folder / "a" / "rank0.pt").unlink()


def _add(folder):
    (folder / "a" / "evil.pt").write_bytes(b"pickle")


@pytest.mark.parametrize(
    ("harm", "named"), [(_flip, "inner/rank1.pt"), (_lose, "rank0.pt"), (_add, "evil.pt")]
)
def test_a_folder_that_differs_from_its_manifest_is_refused_by_name(tmp_path, harm, named):
    save(tmp_path, "a")
    harm(tmp_path)
    with pytest.raises(WeightError, match=named):
        checkpoint.verify(tmp_path, "a")


def test_ranks_that_share_the_reading_find_what_one_would(tmp_path):
    save(tmp_path, "a")
    _flip(tmp_path)
    refused = 0
    for part in range(2):
        try:
            checkpoint.verify(tmp_path, "a", part=part, num_parts=2)
        except WeightError:
            refused += 1
    assert refused == 1


def test_the_latest_tag_is_never_written_over(tmp_path):
    save(tmp_path, "a")
    with pytest.raises(ValueError, match="tag must be new"):
        checkpoint.prepare(tmp_path, "a")
    checkpoint.verify(tmp_path, "a")
    with pytest.raises(ValueError, match="tag must be a plain name"):
        checkpoint.prepare(tmp_path, "../a")


@pytest.mark.parametrize("text", ["", "[]", '{"tag": "../../etc"}', '{"tag": 3}', '{"tag": "gone"}'])
def test_a_broken_pointer_is_an_error_and_not_a_fresh_start(tmp_path, text):
    save(tmp_path, "a")
    (tmp_path / checkpoint.POINTER).write_text(text)
    with pytest.raises(WeightError):
        checkpoint.latest(tmp_path)


def test_a_manifest_of_another_tag_is_refused(tmp_path):
    save(tmp_path, "a")
    path = tmp_path / "a" / checkpoint.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "tag": "b"}))
    with pytest.raises(WeightError, match="must be of 'a', got 'b'"):
        checkpoint.latest(tmp_path)
