"""Limits, processor, memory, disk: a machine against what a config takes of it."""

from dataclasses import replace

import pytest

from pgpo_async.orchestration.doctor import memory as memory_check
from pgpo_async.orchestration.doctor.disk import check_disk, nearest_folder
from pgpo_async.orchestration.doctor.limits import check_limits
from pgpo_async.orchestration.doctor.memory import (
    check_memory,
    default_store_bytes,
    file_system,
    shared_lines,
)
from pgpo_async.orchestration.doctor.processor import check_processor
from pgpo_async.orchestration.doctor.sizes import host_bytes
from pgpo_async.orchestration.planning.peak_memory import planned_memory

GIB = 1 << 30


def levels(lines):
    return {line.name: line.level for line in lines}


@pytest.mark.parametrize(
    ("limits", "level"),
    [((256, 512), "error"), ((1024, 2048), "warning"), ((1024, 1 << 20), "ok"), ((-1, -1), "ok")],
)
def test_it_is_the_hard_limit_of_open_files_that_counts_since_ray_raises_the_soft_one(
    config, machine, limits, level
):
    found = {line.name: line for line in check_limits(config(), replace(machine, open_files=limits))}
    assert found["open files"].level == level


def test_a_container_with_room_for_few_threads_is_warned_of(config, machine):
    assert levels(check_limits(config(), replace(machine, threads_left=100)))["threads"] == "warning"
    assert levels(check_limits(config(), replace(machine, threads_left=100_000)))["threads"] == "ok"


def test_a_processor_without_avx2_is_an_error_for_engines_on_the_cpu_alone(config, machine):
    old = replace(machine, cpu_flags=frozenset({"avx", "f16c"}))
    assert levels(check_processor(config(), old))["processor"] == "error"
    on_gpus = config("generator.gpus=1", "scorer.gpus=1", "learner.gpus=1")
    assert levels(check_processor(on_gpus, old)) == {"processor": "ok"}
    assert levels(check_processor(config("ray.address=auto"), old)) == {"processor": "ok"}
    arm = replace(old, architecture="aarch64")
    assert levels(check_processor(config(), arm))["processor"] == "ok"


def test_emulated_bfloat16_is_warned_of(config, machine):
    asked = config("model.dtype=bfloat16")
    assert levels(check_processor(asked, machine))["bfloat16"] == "warning"
    able = replace(machine, cpu_flags=machine.cpu_flags | {"amx_bf16"})
    assert levels(check_processor(asked, able))["bfloat16"] == "ok"
    assert "bfloat16" not in levels(check_processor(config(), machine))


def test_stages_that_each_take_all_cores_are_told_which_fields_bound_them(config, machine):
    greedy = config("generator.num_threads=null", "scorer.num_threads=null", "learner.num_threads=null")
    (line,) = [line for line in check_processor(greedy, machine) if line.name == "cores"]
    assert line.level == "warning"
    assert "generator.num_threads, learner.num_threads, scorer.num_threads" in line.advice
    assert levels(check_processor(config(), replace(machine, num_cpus=2)))["cores"] == "ok"


def test_the_demo_fits_a_machine_that_is_well(config, machine, monkeypatch):
    monkeypatch.setattr(memory_check, "file_system", lambda _folder: "tmpfs")
    found = levels(check_memory(config(), machine))
    assert found == {"memory": "ok", "shared memory": "ok", "object store": "ok", "queue": "ok"}


def test_memory_counts_the_engines_caches_as_vllm_would_take_them(config, machine):
    small = config()
    memory = planned_memory(small)
    given = host_bytes(small, machine, memory)["generators"]
    # What is not bounded takes nearly all of the machine.
    free = config("generator.engine={}")
    assert host_bytes(free, machine, memory)["generators"] - given > 50 * GIB
    stated = replace(machine, environ={"VLLM_CPU_KVCACHE_SPACE": "4"})
    assert host_bytes(small, stated, memory)["generators"] - given == 4 * GIB - 268435456
    assert (
        levels(check_memory(config("generator.replicas=2", "generator.engine={}"), machine))["memory"]
        == "error"
    )
    busy = replace(machine, available_bytes=GIB)
    assert levels(check_memory(small, busy))["memory"] == "warning"


def test_unusable_shared_memory_is_an_error_that_says_why(config, machine, tmp_path):
    missing = replace(machine, shared_memory=tmp_path / "none")
    assert levels(check_memory(config(), missing))["shared memory"] == "error"
    file = tmp_path / "file"
    file.touch()
    assert levels(check_memory(config(), replace(machine, shared_memory=file)))["shared memory"] == "error"


def test_shared_memory_on_a_disk_is_slow(config, machine, monkeypatch):
    monkeypatch.setattr(memory_check, "file_system", lambda _folder: "ext4")
    (line,) = [line for line in check_memory(config(), machine) if line.name == "shared memory"]
    assert line.level == "warning"
    assert "ext4" in line.found


def test_the_kind_of_a_folders_file_system_is_that_of_the_latest_and_longest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw 0 0\nnone /dev tmpfs rw 0 0\n"
        "none /dev/shm ext4 rw 0 0\nnone /dev/shm tmpfs rw 0 0\n"
    )
    assert file_system(memory_check.Path("/dev/shm"), mounts) == "tmpfs"
    assert file_system(memory_check.Path("/devices"), mounts) == "ext4"
    assert file_system(memory_check.Path("/dev"), tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("overrides", "free", "wanted"),
    [
        ((), 1 << 20, {"shared memory": "error"}),  # not even the weights fit
        ((), 100 << 20, {"object store": "warning", "shared memory": "ok"}),  # Ray goes to disk
        (("ray.object_store_bytes=20000000000",), 10 * GIB, {"object store": "error", "shared memory": "ok"}),
        (("ray.object_store_bytes=1000",), 10 * GIB, {"object store": "error", "shared memory": "ok"}),
        (("ray.address=auto",), 10 * GIB, {"shared memory": "ok"}),
        (("ray.object_store_bytes=null",), 5 * GIB, {"object store": "warning", "shared memory": "ok"}),
        (("ray.object_store_bytes=null",), 30 * GIB, {"object store": "ok", "shared memory": "ok"}),
    ],
)
def test_free_shared_memory_is_compared_with_staged_weights_and_ray_s_store(
    config, machine, overrides, free, wanted
):
    run = config(*overrides)
    assert levels(shared_lines(run, machine, planned_memory(run), free)) == wanted


def test_a_store_that_is_too_small_for_groups_and_weights_is_told_the_size_to_set(config, machine):
    run = config("generation.max_response_tokens=100000", "ray.object_store_bytes=80000000")
    memory = planned_memory(run)
    (line,) = [x for x in shared_lines(run, machine, memory, 10 * GIB) if x.name == "object store"]
    assert line.level == "warning"
    assert f"ray.object_store_bytes={memory.object_store_bytes}" in line.advice


def test_ray_s_own_choice_of_a_store_is_a_share_of_memory_capped_by_shared_memory():
    assert default_store_bytes(100 * 10**9, 200 * 10**9) == 30 * 10**9
    assert default_store_bytes(100 * 10**9, 20 * 10**9) == 19 * 10**9
    assert default_store_bytes(100 * 10**9, 1 * 10**9) == 10**10
    assert default_store_bytes(10**13, 10**13) == 200 * 10**9


@pytest.mark.parametrize(("max_bytes", "level"), [(1, "error"), (500_000, "warning"), (8 * GIB, "ok")])
def test_the_queues_bound_must_leave_room_for_a_batch(config, machine, max_bytes, level):
    assert levels(check_memory(config(f"queue.max_bytes={max_bytes}"), machine))["queue"] == level


def test_a_model_that_is_not_here_leaves_what_is_needed_unknown(config, machine):
    found = levels(check_memory(config("model.path=/no/such/model"), machine))
    assert found["memory"] == "warning"
    assert "queue" not in found


def test_output_goes_where_it_can_be_written_and_has_room(config, machine, tmp_path):
    assert levels(check_disk(config(f"output_dir={tmp_path / 'a' / 'b'}"), machine))["output_dir"] == "ok"
    assert not (tmp_path / "a").exists()
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    file = tmp_path / "file"
    file.touch()
    assert levels(check_disk(config(f"output_dir={file}"), machine))["output_dir"] == "error"
    assert list(tmp_path.glob(".pgpo_async*")) == []


def test_a_disk_without_room_for_a_checkpoint_is_an_error(config, machine, tmp_path, monkeypatch):
    usage = memory_check.shutil.disk_usage(tmp_path)
    run = config(f"output_dir={tmp_path}")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(total=10**12, free=10**6))
    found = levels(check_disk(run, machine))
    assert found == {"output_dir": "error", "temporary folder": "warning"}
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(total=10**9, free=3 * 10**7))
    assert levels(check_disk(run, machine))["output_dir"] == "warning"
