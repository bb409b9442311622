"""Ports, other Rays, leftovers of dead runs."""

import socket
from dataclasses import replace

from pgpo_async.actors.run_folders import enter, run_staging_folder
from pgpo_async.orchestration.doctor import other_runs
from pgpo_async.orchestration.doctor.other_runs import (
    Seen,
    check_other_runs,
    is_dead,
    leftover_lines,
    ray_lines,
)
from pgpo_async.orchestration.doctor.ports import check_ports

SEEN = Seen(pid=4, parent_pid=1, name="gcs_server", user="ann", started_s=0.0, run_id="x", ray_port="6379")


def by_name(lines):
    return {line.name: line for line in lines}


def test_a_port_that_is_taken_is_an_error_that_names_its_holder(config):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = by_name(check_ports(config(f"metrics.port={port}")))["metrics port"]
    assert line.level == "error"
    assert f"127.0.0.1:{port}" in line.found
    assert "of process" not in line.found
    assert "process" in line.found
    assert "metrics.port=0" in line.advice
    assert by_name(check_ports(config(f"metrics.port={port}")))["metrics port"].level == "ok"


def test_any_port_or_none_is_well_and_an_address_of_no_interface_is_not(config):
    assert by_name(check_ports(config()))["metrics port"].level == "ok"
    assert by_name(check_ports(config("metrics.port=null")))["metrics port"].level == "ok"
    line = by_name(check_ports(config("metrics.host=203.0.113.9")))["metrics port"]
    assert (line.level, "metrics.host" in line.advice) == ("error", True)


def test_another_ray_is_told_with_whose_it_is(config, machine):
    (line,) = ray_lines(config(), machine, [SEEN], now_s=600.0)
    assert line.level == "warning"
    assert "of run x runs here: process 4 of ann, since 10 min" in line.found
    assert "kill 4" in line.advice
    (line,) = ray_lines(config("ray.address=auto"), machine, [SEEN], now_s=600.0)
    assert line.level == "ok"


def test_an_address_that_a_ray_left_behind_matters_to_who_joins_by_it(config, machine):
    machine.ray_folder.mkdir()
    (machine.ray_folder / "ray_current_cluster").write_text("192.0.2.7:6379")
    lines = list(ray_lines(config("ray.address=auto"), machine, [], now_s=0.0))
    assert [line.level for line in lines] == ["ok", "warning"]
    assert "192.0.2.7:6379" in lines[1].found
    assert [line.level for line in ray_lines(config(), machine, [], now_s=0.0)] == ["ok"]


def test_a_folder_is_dead_when_nobody_holds_its_lock_and_looking_changes_nothing(
    config, machine, monkeypatch
):
    monkeypatch.setattr(other_runs, "_processes", lambda: [])  # other tests' clusters, of this machine
    folder = run_staging_folder("run-1", machine.shared_memory)
    lock = enter(folder)
    assert not is_dead(folder)
    assert by_name(check_other_runs(config(), machine))["leftovers"].level == "ok"
    lock.close()
    (folder / "v00000001").write_bytes(bytes(2048))
    line = by_name(check_other_runs(config(), machine))["leftovers"]
    assert line.level == "warning"
    assert "2 KiB" in line.found
    assert "pgpo_async-run-1" in line.found
    assert (folder / "v00000001").exists()
    assert not is_dead(machine.shared_memory / "pgpo_async-none")


def test_processes_of_dead_runs_are_named_with_how_to_end_them():
    orphans = [replace(SEEN, pid=pid, name="EngineCore") for pid in range(10, 18)]
    (line,) = leftover_lines([], orphans)
    assert "10 (EngineCore of x)" in line.found
    assert "3 more" in line.found
    assert line.advice.endswith("16 17`")
