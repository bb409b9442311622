from pgpo_async.orchestration.doctor import machine as looking
from pgpo_async.orchestration.doctor.machine import limited_cpus, limited_memory, this_machine, threads_left


def test_a_containers_share_counts_not_its_hosts_size(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert limited_memory(64_000, 60_000, tmp_path) == (1000, 450)
    assert limited_cpus(64, tmp_path) == 3
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert limited_memory(64_000, 60_000, tmp_path) == (64_000, 60_000)
    assert limited_cpus(64, tmp_path) == 64


def test_the_older_layout_of_container_limits_is_read_too(tmp_path):
    for folder in ("memory", "cpu", "pids"):
        (tmp_path / folder).mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("1000\n")
    (tmp_path / "memory/memory.usage_in_bytes").write_text("400\n")
    (tmp_path / "memory/memory.stat").write_text("cache 9\n")
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "pids/pids.max").write_text("500\n")
    (tmp_path / "pids/pids.current").write_text("460\n")
    assert limited_memory(64_000, 60_000, tmp_path) == (1000, 600)
    assert limited_cpus(16, tmp_path) == 16
    assert threads_left(tmp_path) == 40


def test_no_limit_on_processes_is_none_for_root_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(looking.os, "geteuid", lambda: 0)
    assert threads_left(tmp_path) is None


def test_this_machine_can_be_looked_at():
    found = this_machine()
    assert 0 < found.available_bytes <= found.memory_bytes
    assert found.num_cpus >= 1
    assert found.packages.versions["ray"]
