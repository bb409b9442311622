import threading
import time
import uuid

import fsspec
import pytest

from pgpo_async.contracts import ConfigError, WaitTimeout, WeightError
from pgpo_async.learner import checkpoint, manifest, mirror
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.uploads import Uploads


def info(tag, step, value=None):
    return CheckpointInfo(tag=tag, step=step, version=step, world_size=2, zero_stage=1, value=value)


def save(folder, tag, step=5, value=None):
    home = checkpoint.prepare(folder, tag, {"step": step})
    (home / "inner").mkdir()
    (home / "inner" / "rank0.pt").write_bytes(f"{step}\n".encode() * 500)
    checkpoint.commit(folder, info(tag, step, value))


@pytest.fixture(params=["file", "memory"])
def url(request, tmp_path):
    return f"file://{tmp_path}/remote" if request.param == "file" else f"memory://{uuid.uuid4()}/run"


@pytest.fixture
def here(tmp_path):
    return tmp_path / "here"


def remote(url):
    files, root = fsspec.url_to_fs(url)
    return files, root.rstrip("/")


def test_what_comes_back_is_what_was_sent(url, here, tmp_path):
    save(here, "a", 5, value=0.5)
    assert mirror.latest_remote(url) is None
    mirror.upload(here, "a", url)
    assert mirror.latest_remote(url) == info("a", 5, 0.5)
    there = tmp_path / "there"
    assert mirror.download(url, "a", there) == info("a", 5, 0.5)
    checkpoint.verify(there, "a")
    assert checkpoint.latest(there) == info("a", 5, 0.5)
    assert checkpoint.read_state(there, "a") == {"step": 5}
    found = {path.relative_to(there / "a"): path.read_bytes() for path in (there / "a").rglob("*.*")}
    assert found == {path.relative_to(here / "a"): path.read_bytes() for path in (here / "a").rglob("*.*")}
    assert [path.name for path in there.iterdir()] == ["a"]


def test_a_copy_is_there_only_once_its_manifest_is(url, here, monkeypatch):
    save(here, "a", 5)
    mirror.upload(here, "a", url)
    save(here, "b", 6)
    files, _ = remote(url)
    order, put = [], type(files).put_file

    def cut(self, source, target, **options):
        order.append(target.rsplit("/", 1)[-1])
        if len(order) == 3:
            raise OSError("the connection is gone")
        put(self, source, target, **options)

    monkeypatch.setattr(type(files), "put_file", cut)
    with pytest.raises(OSError, match="the connection is gone"):
        mirror.upload(here, "b", url)
    assert order[-1] == manifest.MANIFEST, "it must come last"
    assert mirror.latest_remote(url) == info("a", 5)
    monkeypatch.undo()
    mirror.upload(here, "b", url)
    assert mirror.latest_remote(url) == info("b", 6)


def test_a_copy_that_was_changed_is_refused_and_leaves_nothing(url, here, tmp_path):
    save(here, "a")
    mirror.upload(here, "a", url)
    files, root = remote(url)
    files.pipe_file(f"{root}/a/inner/rank0.pt", b"6\n" * 500)
    there = tmp_path / "there"
    save(there, "old", 1)
    with pytest.raises(WeightError, match=r"inner/rank0\.pt does not match its checksum"):
        mirror.download(url, "a", there)
    assert checkpoint.latest(there) == info("old", 1)


def test_a_torn_manifest_is_as_none(url, here):
    save(here, "a", 5)
    save(here, "b", 6)
    for tag in ("a", "b"):
        mirror.upload(here, tag, url)
    files, root = remote(url)
    text = files.cat_file(f"{root}/b/{manifest.MANIFEST}")
    files.pipe_file(f"{root}/b/{manifest.MANIFEST}", text[:-20])
    assert mirror.latest_remote(url) == info("a", 5)


def test_copies_are_pruned_like_checkpoints_and_uploads_that_never_ended_go(url, here):
    for step, value in enumerate([0.9, 0.1, 0.2, 0.3]):
        save(here, f"s{step}", step, value)
        mirror.upload(here, f"s{step}", url)
    files, root = remote(url)
    for name in ("torn", "mine"):
        files.makedirs(f"{root}/{name}")
        files.pipe_file(f"{root}/{name}/data", b"...")
    files.pipe_file(f"{root}/torn/{mirror.UPLOADING}", b"")
    assert sorted(mirror.prune(url, 2, 1)) == ["s1"]
    left = sorted(entry.rsplit("/", 1)[-1] for entry in files.ls(root, detail=False))
    assert left == ["mine", "s0", "s2", "s3"], "what was never ours stays"


def test_a_checkpoint_of_the_same_tag_takes_the_place_of_the_old_copy(url, here):
    save(here, "a", 5)
    mirror.upload(here, "a", url)
    save(here, "b", 6)
    save(here, "a", 7)
    mirror.upload(here, "a", url)
    assert mirror.latest_remote(url) == info("a", 7)


def test_a_url_that_nothing_installed_can_open_is_a_config_error(monkeypatch):
    with pytest.raises(ConfigError, match=r"train\.checkpoint_url must be a URL that fsspec can open"):
        mirror.check("nothing-known://bucket/run")
    # As where the library of a known protocol is not installed.
    monkeypatch.setattr(fsspec, "url_to_fs", _not_installed)
    with pytest.raises(ConfigError, match="Install s3fs to access S3"):
        mirror.check("s3://bucket/run")


def _not_installed(url):
    raise ImportError("Install s3fs to access S3")


@pytest.fixture
def uploads(url):
    uploads = Uploads(url, keep_last=2, keep_best=0)
    yield uploads
    uploads.close()


def test_uploads_go_on_in_the_background_and_prune_there(uploads, url, here):
    for step in range(4):
        save(here, f"s{step}", step)
        uploads.submit(here, f"s{step}")
        uploads.finish(20.0)
        assert mirror.latest_remote(url) == info(f"s{step}", step)
    files, root = remote(url)
    assert sorted(name.rsplit("/", 1)[-1] for name in files.ls(root, detail=False)) == ["s2", "s3"]
    assert uploads.take_problems() == ()


def test_an_upload_that_fails_is_told_once_and_the_next_one_works(uploads, url, here, monkeypatch):
    save(here, "a", 5)
    monkeypatch.setattr(mirror, "upload", _fail)
    uploads.submit(here, "a")
    uploads.finish(20.0)
    (problem,) = uploads.take_problems()
    assert "checkpoint a could not be uploaded" in problem
    assert "no such bucket" in problem
    assert uploads.take_problems() == ()
    monkeypatch.undo()
    save(here, "b", 6)
    uploads.submit(here, "b")
    uploads.finish(20.0)
    assert mirror.latest_remote(url) == info("b", 6)


def _fail(*arguments):
    raise PermissionError("no such bucket")


def _do_nothing(*arguments):
    return []


def test_what_waits_makes_room_for_what_is_newer(uploads, here, monkeypatch):
    may_go, sent = threading.Event(), []

    def slow(folder, tag, url):
        assert may_go.wait(20.0)
        sent.append(tag)

    monkeypatch.setattr(mirror, "upload", slow)
    monkeypatch.setattr(mirror, "prune", _do_nothing)
    uploads.submit(here, "a")
    while uploads.tags != ("a",) or uploads._waiting is not None:
        time.sleep(0.001)  # until the thread has taken it
    uploads.submit(here, "b")
    uploads.submit(here, "c")
    assert uploads.tags == ("a", "c"), "these are still read, and must not be pruned here"
    with pytest.raises(WaitTimeout, match="checkpoint a to arrive at"):
        uploads.finish(0.05)
    may_go.set()
    uploads.finish(20.0)
    assert sent == ["a", "c"]
    (problem,) = uploads.take_problems()
    assert "checkpoint b is not at" in problem
    assert uploads.tags == ()
