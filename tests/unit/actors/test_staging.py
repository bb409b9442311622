"""Staging with real processes, some of which are killed with SIGKILL."""

import multiprocessing as mp
import os
import shutil
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest

from pgpo_async.actors import run_folders
from pgpo_async.actors.file_locks import FileLock
from pgpo_async.actors.staging import NodeStaging, clean_stale, run_staging_folder
from pgpo_async.contracts import BucketEntry, WaitTimeout, WeightError, WeightManifest, content_hash

FILES = {"b0": b"first bucket", "b1": b"second bucket"}
SPAWN = mp.get_context("spawn")


def manifest_of(version, files=FILES):
    return WeightManifest(
        version=version,
        buckets=tuple(
            BucketEntry(name=name, num_bytes=len(data), checksum=content_hash(data), tensors=())
            for name, data in files.items()
        ),
    )


def fetch(bucket):
    data = FILES[bucket.name]
    return [data[:5], memoryview(data)[5:]]


@pytest.fixture
def root():
    """A folder in shared memory, where the locks are those of real use."""
    parent = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path("/tmp")
    path = parent / f"pgpo_async_test-{uuid.uuid4().hex}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def child_stages_and_stays(root, events):
    staging = NodeStaging("run", root)
    staging.stage(manifest_of(1), fetch)
    events.put("staged")
    time.sleep(60)


def child_hangs_in_fetch(root, events):
    staging = NodeStaging("run", root)

    def slow(bucket):
        if bucket.name == "b1":
            events.put("fetching")
            time.sleep(60)
        return fetch(bucket)

    staging.stage(manifest_of(1), slow)


def child_stages_at_once(root, barrier, results):
    calls = []

    def counted(bucket):
        calls.append(bucket.name)
        time.sleep(0.05)
        return fetch(bucket)

    with NodeStaging("run", root) as staging:
        barrier.wait(30)
        folder = staging.stage(manifest_of(3), counted)
        results.put((len(calls), (folder / "b1").read_bytes()))


def start(target, *arguments):
    process = SPAWN.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert process.exitcode == -signal.SIGKILL


def test_a_version_is_staged_whole_and_found_by_the_next(root):
    with NodeStaging("run", root) as staging, NodeStaging("run", root) as other:
        folder = staging.stage(manifest_of(12), fetch)
        assert folder == root / "pgpo_async-run" / "v00000012"
        assert {name: (folder / name).read_bytes() for name in FILES} == FILES
        assert WeightManifest.from_json((folder / "manifest.json").read_text()) == manifest_of(12)
        assert other.stage(manifest_of(12), lambda _: pytest.fail("fetched again")) == folder


def test_the_first_of_several_processes_stages_and_the_others_use_its_copy(root):
    barrier, results = SPAWN.Barrier(3), SPAWN.Queue()
    processes = [start(child_stages_at_once, root, barrier, results) for _ in range(3)]
    got = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(10)
    assert sorted(calls for calls, _ in got) == [0, 0, 2]
    assert {data for _, data in got} == {FILES["b1"]}


def test_a_stager_killed_half_way_leaves_nothing_that_the_next_could_take_for_whole(root):
    events = SPAWN.Queue()
    process = start(child_hangs_in_fetch, root, events)
    assert events.get(timeout=30) == "fetching"
    with NodeStaging("run", root, lock_timeout_s=0.2) as impatient:
        with pytest.raises(WaitTimeout, match="weight version 1 to be staged by another process"):
            impatient.stage(manifest_of(1), fetch)
        assert impatient.versions() == []
    kill(process)
    with NodeStaging("run", root) as staging:
        assert list(staging.folder.glob(".staging-*"))
        assert (staging.stage(manifest_of(1), fetch) / "b1").read_bytes() == FILES["b1"]
        assert not list(staging.folder.glob(".staging-*"))


def test_the_folder_of_a_crashed_run_is_cleaned_and_that_of_a_living_one_is_not(root):
    events = SPAWN.Queue()
    process = start(child_stages_and_stays, root, events)
    assert events.get(timeout=30) == "staged"
    folder = run_staging_folder("run", root)
    assert clean_stale(root) == []
    assert (folder / "v00000001" / "b0").exists()
    kill(process)
    assert clean_stale(root) == [folder]
    assert list(root.iterdir()) == []


def test_remove_takes_the_folder_only_when_nobody_else_is_alive_in_it(root):
    first, second = NodeStaging("run", root), NodeStaging("run", root)
    assert not first.remove()
    assert second.folder.exists()
    assert second.remove()
    assert not second.folder.exists()
    assert not second.remove(), "already gone"


def test_a_folder_half_removed_by_a_killed_cleaner_is_removed_by_the_next(root, monkeypatch):
    NodeStaging("run", root).close()
    with monkeypatch.context() as patch:
        patch.setattr(run_folders.shutil, "rmtree", lambda *_, **__: None)
        clean_stale(root)
    (grave,) = root.iterdir()
    (grave / ".alive").unlink()
    assert clean_stale(root) == [grave]
    assert list(root.iterdir()) == []


def test_who_enters_while_the_folder_is_being_removed_gets_a_new_one(root, monkeypatch):
    folder = run_staging_folder("run", root)
    run_folders.enter(folder).close()
    cleaner = FileLock(folder / ".alive")
    assert cleaner.try_lock(shared=False)
    entered = []
    thread = threading.Thread(target=lambda: entered.append(NodeStaging("run", root)))
    thread.start()
    time.sleep(0.1)
    assert not entered, "it waits while the cleaner holds the lock"
    folder.rename(root / "grave")
    cleaner.close()
    thread.join(10)
    (staging,) = entered
    assert (staging.stage(manifest_of(1), fetch) / "b0").exists()
    assert clean_stale(root) == []
    staging.close()


def churn(root, seed, barrier, results):
    rounds = 0
    barrier.wait(60)
    stop_at = time.time() + 3.0
    while time.time() < stop_at:
        with NodeStaging("run", root) as staging:
            folder = staging.stage(manifest_of(rounds % 3), fetch)
            # Whatever cleaners do, what a living process staged is there as long as it lives.
            assert (folder / "b1").read_bytes() == FILES["b1"]
            time.sleep(0.001 * (seed % 3))
            assert (folder / "b1").read_bytes() == FILES["b1"]
        clean_stale(root)
        rounds += 1
    results.put(rounds)


def test_entering_staging_and_cleaning_at_once_never_lose_a_living_ones_files(root):
    barrier, results = SPAWN.Barrier(3), SPAWN.Queue()
    processes = [start(churn, root, seed, barrier, results) for seed in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert all(results.get(timeout=5) > 0 for _ in processes)


def test_prune_keeps_the_newest_and_what_is_being_read(root):
    with NodeStaging("run", root) as staging, NodeStaging("run", root) as reader:
        folders = [staging.stage(manifest_of(version), fetch) for version in (9, 10, 11, 12)]
        with reader.reading(folders[0]):
            assert staging.prune(2) == [10]
            assert staging.versions() == [9, 11, 12]
        assert staging.prune(2) == [9]
        assert staging.prune(2) == []
        with pytest.raises(WeightError, match="it was pruned"), reader.reading(folders[0]):
            pass


def test_a_torn_bucket_is_refused_and_leaves_nothing(root):
    with NodeStaging("run", root) as staging:
        with pytest.raises(WeightError, match="bucket b0 of version 1 must be 12 bytes with checksum"):
            staging.stage(manifest_of(1), lambda bucket: [FILES[bucket.name][::-1]])
        assert staging.versions() == []
        assert not list(staging.folder.glob(".staging-*"))
        with pytest.raises(WeightError, match="must be a plain file name"):
            staging.stage(manifest_of(1, {"../evil": b"x"}), lambda _: [b"x"])


def test_a_version_published_again_with_other_content_is_staged_again(root):
    with NodeStaging("run", root) as staging:
        staging.stage(manifest_of(1), fetch)
        other = {"b0": b"after the restore"}
        folder = staging.stage(manifest_of(1, other), lambda bucket: [other[bucket.name]])
        assert (folder / "b0").read_bytes() == b"after the restore"
        assert not (folder / "b1").exists()


def test_too_little_room_says_how_much_is_needed_and_how_much_there_is(root):
    huge = WeightManifest(
        version=1, buckets=(BucketEntry(name="b0", num_bytes=10**18, checksum="", tensors=()),)
    )
    no_room = pytest.raises(WeightError, match=r"needs 1,000,000,000,000,000,000 bytes .* bytes free")
    with NodeStaging("run", root) as staging, no_room:
        staging.stage(huge, lambda _: pytest.fail("fetched without room"))


def test_a_disk_that_fills_up_while_writing_is_a_weight_error(root):
    def full(bucket):
        yield FILES[bucket.name][:3]
        raise OSError(28, "No space left on device")

    with NodeStaging("run", root) as staging:
        with pytest.raises(WeightError, match="needs 25 bytes"):
            staging.stage(manifest_of(1), full)
        assert not list(staging.folder.glob(".staging-*"))


@pytest.mark.parametrize("run_id", ["", "a/b", "dead-x"])
def test_run_ids_that_are_no_folder_name_are_refused(run_id, root):
    with pytest.raises(ValueError, match="run_id must be a file name"):
        NodeStaging(run_id, root)
