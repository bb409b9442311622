import json
import os
import random
import shutil
import signal
import time
from itertools import count
from multiprocessing import get_context

import pytest

from pgpo_async.contracts import WeightError
from pgpo_async.learner import checkpoint, manifest
from pgpo_async.learner.checkpoint import CheckpointInfo

FORK = get_context("fork")


def info(tag, step=5, *, version=None, value=None, zero_stage=1):
    version = step if version is None else version
    return CheckpointInfo(
        tag=tag, step=step, version=version, world_size=2, zero_stage=zero_stage, value=value
    )


def write(folder, tag, state=None):
    home = checkpoint.prepare(folder, tag, state)
    (home / "inner").mkdir()
    (home / "rank0.pt").write_bytes(b"zero" * 100)
    (home / "inner" / "rank1.pt").write_bytes(b"one" * 100)
    return home


def save(folder, tag, step=5, state=None, **about):
    write(folder, tag, state)
    checkpoint.commit(folder, info(tag, step, **about))


def flip(path, position=-1):
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_committed_checkpoint_is_the_latest_and_whole(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    save(tmp_path, "a", 5)
    save(tmp_path, "b", 6, version=9, value=0.5)
    assert checkpoint.latest(tmp_path) == info("b", 6, version=9, value=0.5)
    checkpoint.verify(tmp_path, "b")
    assert names(tmp_path) == ["a", "b"]


def test_the_latest_is_of_the_highest_step_whatever_the_order_of_tags_and_of_saving(tmp_path):
    save(tmp_path, "z", 4)
    save(tmp_path, "a", 12)
    save(tmp_path, "m", 9, version=20)
    assert checkpoint.latest(tmp_path).tag == "a"


def test_until_the_commit_there_is_nothing_to_see(tmp_path):
    save(tmp_path, "a")
    write(tmp_path, "b")
    assert checkpoint.latest(tmp_path) == info("a")
    assert names(tmp_path) == [".b.partial", "a"]


def test_what_a_crash_left_is_gone_after_the_next_save(tmp_path):
    save(tmp_path, "a")
    write(tmp_path, "b")
    for leftover in (".x.dropped", ".y.universal"):
        (tmp_path / leftover / "inner").mkdir(parents=True)
    save(tmp_path, "c", 6)
    assert names(tmp_path) == ["a", "c"]


def test_the_drivers_state_comes_back_as_it_was(tmp_path):
    state = {"queue": {"journal": 12, "ids": ["p1", "p2"]}, "accuracy": 0.1 + 0.2, "none": None}
    save(tmp_path, "a", state=state)
    assert checkpoint.read_state(tmp_path, "a") == state


def test_a_state_that_json_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="state must be what JSON can hold"):
        checkpoint.prepare(tmp_path / "new", "a", {"ref": object()})
    assert not (tmp_path / "new").exists()


def test_a_changed_state_is_refused(tmp_path):
    save(tmp_path, "a", state={"drawn": 10})
    path = tmp_path / "a" / checkpoint.STATE
    path.write_text(path.read_text().replace("10", "11"))
    with pytest.raises(WeightError, match=r"run_state\.json does not match its checksum"):
        checkpoint.read_state(tmp_path, "a")
    path.unlink()
    with pytest.raises(WeightError, match=r"run_state\.json must be readable"):
        checkpoint.read_state(tmp_path, "a")


def _flip(folder):
    flip(folder / "a" / "inner" / "rank1.pt")


def _lose(folder):
    (folder / "a" / "rank0.pt").unlink()


def _add(folder):
    (folder / "a" / "evil.pt").write_bytes(b"pickle")


def _cut(folder):
    os.truncate(folder / "a" / "rank0.pt", 10)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_flip, "inner/rank1.pt does not match its checksum"),
        (_lose, "lacks rank0.pt"),
        (_add, "has beside them evil.pt"),
        (_cut, "rank0.pt must hold 400 bytes, got 10"),
    ],
)
def test_a_folder_that_differs_from_its_manifest_is_refused_by_name(tmp_path, harm, message):
    save(tmp_path, "a")
    harm(tmp_path)
    with pytest.raises(WeightError, match=message):
        checkpoint.verify(tmp_path, "a")


def test_every_byte_of_a_checkpoint_counts_those_of_the_manifest_too(tmp_path):
    save(tmp_path, "a", value=0.25)
    for path in (path for path in (tmp_path / "a").rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for position in range(0, len(whole), 1 if path.name == manifest.MANIFEST else 37):
            flip(path, position)
            with pytest.raises(WeightError):
                checkpoint.verify(tmp_path, "a")
            path.write_bytes(whole)
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


def test_a_manifest_names_no_file_outside_its_folder(tmp_path):
    save(tmp_path, "a")
    path = tmp_path / "a" / manifest.MANIFEST
    content = json.loads(path.read_text().replace('"rank0.pt"', '"../b/rank0.pt"'))
    del content["manifest_xxh3"]
    path.write_text(json.dumps({**content, "manifest_xxh3": manifest._checksum(content)}))
    with pytest.raises(WeightError, match="must lie inside the folder"):
        manifest.read(tmp_path / "a")


def test_the_latest_tag_is_never_written_over_while_it_is_whole(tmp_path):
    save(tmp_path, "a")
    with pytest.raises(ValueError, match="tag must be new"):
        checkpoint.prepare(tmp_path, "a")
    checkpoint.verify(tmp_path, "a")
    flip(tmp_path / "a" / "rank0.pt")
    save(tmp_path, "a")
    checkpoint.verify(tmp_path, "a")


@pytest.mark.parametrize("tag", ["../a", "", ".a", "a/b", ".."])
def test_a_tag_is_a_plain_name(tmp_path, tag):
    with pytest.raises(ValueError, match="tag must be a plain name"):
        checkpoint.prepare(tmp_path, tag)


def test_an_older_checkpoint_of_the_same_tag_makes_room(tmp_path):
    save(tmp_path, "a", 5)
    save(tmp_path, "b", 6)
    save(tmp_path, "a", 7)
    assert checkpoint.latest(tmp_path) == info("a", 7)
    checkpoint.verify(tmp_path, "a")


@pytest.mark.parametrize("text", ["", "[]", "{}", "\0"])
def test_checkpoints_that_cannot_be_read_are_an_error_and_not_a_fresh_start(tmp_path, text):
    save(tmp_path, "a")
    (tmp_path / "a" / manifest.MANIFEST).write_text(text)
    with pytest.raises(WeightError, match="must hold a checkpoint that can be read"):
        checkpoint.latest(tmp_path)
    (tmp_path / "a" / manifest.MANIFEST).unlink()
    with pytest.raises(WeightError, match="must hold a checkpoint that can be read"):
        checkpoint.latest(tmp_path)


def test_one_that_cannot_be_read_is_passed_over_and_named(tmp_path):
    save(tmp_path, "a", 5)
    save(tmp_path, "b", 6)
    flip(tmp_path / "b" / manifest.MANIFEST, 40)
    found = checkpoint.latest(tmp_path)
    assert found == info("a", 5)
    (reason,) = found.skipped
    assert str(tmp_path / "b") in reason


def test_a_tag_that_is_asked_for_is_that_one_or_an_error(tmp_path):
    save(tmp_path, "a", 5)
    save(tmp_path, "b", 6)
    assert checkpoint.candidates(tmp_path, "a") == ([info("a", 5)], ())
    with pytest.raises(WeightError, match="must be readable"):
        checkpoint.candidates(tmp_path, "c")


def test_a_renamed_checkpoint_is_refused(tmp_path):
    save(tmp_path, "a")
    (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(WeightError, match="must be of 'b', got 'a'"):
        checkpoint.latest(tmp_path)


def test_a_value_that_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="value must be finite or None, got nan"):
        info("a", value=float("nan"))


def test_the_newest_and_the_best_are_kept(tmp_path):
    values = [0.1, 0.9, 0.3, None, 0.9, 0.2, 0.4]
    for step, value in enumerate(values):
        save(tmp_path, f"s{step}", step, value=value)
    assert sorted(checkpoint.prune(tmp_path, 2, 2)) == ["s0", "s2", "s3"]
    assert names(tmp_path) == ["s1", "s4", "s5", "s6"]
    # Of two that are equally good the newer one is kept.
    assert sorted(checkpoint.prune(tmp_path, 1, 1)) == ["s1", "s5"]
    assert checkpoint.prune(tmp_path, 1, 0, spare={"s4"}) == []
    assert checkpoint.prune(tmp_path, 0, 0) == ["s4"]
    assert names(tmp_path) == ["s6"], "the newest is never deleted"
    checkpoint.verify(tmp_path, "s6")


def test_what_is_no_checkpoint_is_not_deleted(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "notes.txt").write_text("mine too")
    for step in range(3):
        save(tmp_path, f"s{step}", step)
    checkpoint.prune(tmp_path, 1, 0)
    assert names(tmp_path) == ["mine", "notes.txt", "s2"]


def _do_nothing(*arguments, **options):
    return []


def test_a_deletion_that_fails_half_way_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    save(tmp_path, "a", 5)
    save(tmp_path, "b", 6)
    monkeypatch.setattr(shutil, "rmtree", _do_nothing)
    checkpoint.prune(tmp_path, 1, 0)
    assert names(tmp_path) == [".a.dropped", "b"]
    monkeypatch.undo()
    save(tmp_path, "c", 7)
    assert names(tmp_path) == ["b", "c"]


def _save_without_end(folder, told):
    """Each file holds its own step, so that a mix of two checkpoints would show."""
    newest = checkpoint.latest(folder)
    for step in count(newest.step + 1 if newest else 1):
        tag = f"step-{step:08d}"
        home = checkpoint.prepare(folder, tag, {"step": step})
        (home / "inner").mkdir()
        for number in range(6):
            (home / "inner" / f"rank{number}.pt").write_bytes(f"{step}\n".encode() * 2000)
        checkpoint.commit(folder, info(tag, step, value=-abs(step % 10 - 5)))
        checkpoint.prune(folder, 2, 1, spare={tag})
        told.send(step)


def _told_until_killed(folder, after_s):
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_save_without_end, args=(folder, sender))
    process.start()
    sender.close()
    told = [receiver.recv()]
    time.sleep(after_s)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    while True:
        try:
            told.append(receiver.recv())
        except EOFError:
            return told


def test_a_kill_at_any_moment_leaves_the_newest_checkpoint_whole(tmp_path):
    """30 processes that save without end, each killed somewhere in it, each going on from the last."""
    rng = random.Random(0)
    left_by_kills, before = set(), 0
    for _ in range(30):
        told = _told_until_killed(tmp_path, rng.uniform(0.0, 0.03))
        newest = checkpoint.latest(tmp_path)
        assert newest.skipped == ()
        assert before < told[-1] <= newest.step <= told[-1] + 1, "what was told to be saved is there"
        assert checkpoint.read_state(tmp_path, newest.tag) == {"step": newest.step}
        for found in checkpoint.find(tmp_path)[0]:
            checkpoint.verify(tmp_path, found.tag)
            content = (tmp_path / found.tag / "inner" / "rank5.pt").read_text()
            assert set(content.split()) == {str(found.step)}
        left_by_kills |= {path.suffix for path in tmp_path.iterdir()}
        before = newest.step
    assert ".partial" in left_by_kills, "some kills must have come in the middle of writing"
