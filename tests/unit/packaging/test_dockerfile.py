"""The Dockerfile: what a linter knows, and what it does not: pins, users, secrets, what the build may see."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.dockerfile import (
    DOCKERFILE,
    REPOSITORY,
    health_command,
    holding,
    last,
    lets_through,
    stages,
    variables,
)

from pgpo_async.config.masking import is_secret_key

TEXT = DOCKERFILE.read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
TARGETS = {"cpu": "--group cpu", "gpu": "--extra gpu"}
IN_BASE = {f"lib{name}" for name in ("c", "dl", "gcc_s", "m", "pthread", "rt", "stdc++", "util")}
"""The system's libraries that the smallest Debian with apt has."""
VERSION = "org.opencontainers.image.version"


def problems(text):
    """Say what breaks a promise of ours, a line each."""
    found = stages(text)
    if missing := TARGETS.keys() - found.keys():
        return [f"no target {name}" for name in sorted(missing)]
    return [*_of_stages(found), *(line for name in TARGETS for line in _of_target(found, name))]


def _of_stages(found):
    for stage in found.values():
        if stage.base not in found and not re.search(
            r":\d+\.\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$", stage.base
        ):
            yield f"{stage.name}: {stage.base} is not pinned to a release"
        for keyword in ("ARG", "ENV"):
            named = variables(stage.instructions, keyword)
            yield from (
                f"{stage.name}: {keyword} {name} is a secret" for name in named if is_secret_key(name)
            )
        runs = " ".join(rest for keyword, rest in stage.instructions if keyword == "RUN")
        copies = [rest for keyword, rest in stage.instructions if keyword == "COPY"]
        if any(keyword == "ADD" for keyword, _ in stage.instructions):
            yield f"{stage.name}: ADD takes what is not in the repository"
        if "uv sync" in runs and copies != ["pyproject.toml ./"]:
            yield f"{stage.name}: a change of {copies} would make all dependencies anew"
        if re.search(r"pip install .*\buv\b(?!==\d)", runs):
            yield f"{stage.name}: uv is not pinned"


def _of_target(found, name):
    inside = holding(found, name)
    user = last(inside, "USER") or "0"
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
        yield f"{name}: USER must be numbers, not root's, got {user}"
    for keyword in ("HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"):
        if last(inside, keyword) in (None, "NONE"):
            yield f"{name}: no {keyword}"
    shell = last(inside, "SHELL") or ""
    if "pipefail" not in shell:
        yield f"{name}: SHELL without pipefail"
    version = variables(inside, "LABEL").get(VERSION)
    if version != PROJECT["project"]["version"]:
        yield f"{name}: labelled {version}, the project is {PROJECT['project']['version']}"
    environment = variables(inside)
    if environment.get("HOME") != "/home/pgpo" or not {"USER", "LOGNAME"} <= environment.keys():
        yield f"{name}: a user without an entry in /etc/passwd has no name or home"
    syncs = [rest for keyword, rest in found[f"{name}-environment"].instructions if "uv sync" in rest]
    if not any("--no-default-groups" in sync and TARGETS[name] in sync for sync in syncs):
        yield f"{name}: its environment must be made of {TARGETS[name]} alone"


def lint(text):
    """Return hadolint's exit status and what it says."""
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program, "hadolint is missing; `uv sync` installs it"
    command = [program, "--no-color", "--failure-threshold", "info", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_the_dockerfile_keeps_its_promises():
    assert problems(TEXT) == []


def test_the_linter_finds_nothing():
    assert lint(TEXT) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("python:3.12.12-slim-bookworm\n\n", "python:latest\n\n", "runtime: python:latest is not pinned"),
        (
            "python:3.12.12-slim-bookworm\n\n",
            "python:3.12-slim\n\n",
            "runtime: python:3.12-slim is not pinned",
        ),
        ("USER 1000:1000", "USER root", "gpu: USER must be numbers, not root's, got root"),
        ("USER 1000:1000", "USER 0:0", "cpu: USER must be numbers, not root's, got 0:0"),
        ("USER 1000:1000\n", "", "cpu: USER must be numbers, not root's, got 0"),
        ("HOME=/home/pgpo", "HF_TOKEN=abc HOME=/home/pgpo", "runtime: ENV HF_TOKEN is a secret"),
        ("WORKDIR /src\n", "WORKDIR /src\nARG INDEX_PASSWORD\n", "tools: ARG INDEX_PASSWORD is a secret"),
        (
            "USER 1000:1000\n",
            "ADD https://example.org/x /\nUSER 1000:1000\n",
            "cpu: ADD takes what is not in",
        ),
        (
            "COPY pyproject.toml ./",
            "COPY . .",
            "gpu-environment: a change of ['. .'] would make all dependencies",
        ),
        ("HEALTHCHECK ", "HEALTHCHECK NONE\n#", "cpu: no HEALTHCHECK"),
        ('image.version="0.1.0"', 'image.version="0.0.9"', "gpu: labelled 0.0.9, the project is 0.1.0"),
        ("uv==0.13.9", "uv", "tools: uv is not pinned"),
        ("FROM runtime AS gpu\n", "FROM runtime AS cuda\n", "no target gpu"),
        ("--group cpu --extra", "--extra", "cpu: its environment must be made of --group cpu alone"),
        ("    LOGNAME=pgpo \\\n", "", "cpu: a user without an entry in /etc/passwd has no name or home"),
    ],
)
def test_a_planted_fault_is_found(old, new, told):
    assert old in TEXT
    found = problems(TEXT.replace(old, new))
    assert any(told in line for line in found), found


def test_the_linter_would_find_faults():
    status, said = lint("FROM debian:latest\nRUN apt-get install gcc | tee log\nCMD sleep 1\n")
    assert status != 0
    assert {"DL3007", "DL3008", "DL3015", "DL3025", "DL4006"} <= set(re.findall(r"DL\d+", said))


def test_python_and_the_groups_are_those_that_the_project_names():
    (image,) = {stage.base for stage in stages(TEXT).values() if ":" in stage.base}
    minor = re.search(r":(\d+\.\d+)\.", image)[1]
    assert f"Programming Language :: Python :: {minor}" in PROJECT["project"]["classifiers"]
    asked = re.findall(r"--(group|extra) (\S+)", TEXT)
    assert {name for kind, name in asked if kind == "group"} <= PROJECT["dependency-groups"].keys()
    assert {name for kind, name in asked if kind == "extra"} <= PROJECT["project"][
        "optional-dependencies"
    ].keys()


@pytest.mark.skipif(sys.platform != "linux", reason="needs ldd")
def test_the_image_has_the_system_libraries_that_vllm_and_ray_are_linked_against():
    installed = " ".join(rest for name, rest in holding(stages(TEXT), "cpu") if name == "RUN")
    packages = Path(next(path for path in sys.path if path.endswith("site-packages")))
    compiled = [*packages.glob("vllm/_C*.so"), packages / "ray" / "_raylet.so"]
    said = subprocess.run(["ldd", *compiled], capture_output=True, text=True, check=True, timeout=60).stdout
    needed = set(re.findall(r"(\S+)\.so\.\d+ => /(?:usr/)?lib/", said))
    assert "libc" in needed
    lacking = [name for name in needed - IN_BASE if f"{name}1" not in installed.split()]
    assert lacking == []


def test_the_health_check_needs_nothing_that_the_image_lacks():
    command = health_command(holding(stages(TEXT), "cpu"))
    assert command[:2] == ["bash", "-c"]
    assert not re.search(r"\b(curl|wget)\b", command[2])


def test_the_build_sees_what_it_copies_and_nothing_else():
    ignore = (REPOSITORY / ".dockerignore").read_text()
    copied = [
        source
        for stage in stages(TEXT).values()
        for keyword, rest in stage.instructions
        if keyword == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert {"pyproject.toml", "pgpo_async", "actors", "learner"} <= set(copied)
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert lets_through(ignore, source), source
    assert lets_through(ignore, "pgpo_async/demo/tiny_vlm/model.safetensors")
    kept_out = [
        ".git/config",
        ".venv/bin/python",
        "tests/conftest.py",
        "runs/x/config.yaml",
        "uv.lock",
        ".env",
    ]
    kept_out += ["pgpo_async/__pycache__/cli.cpython-312.pyc", "k8s/settings.yaml", "actors/old.pyc"]
    assert [path for path in kept_out if lets_through(ignore, path)] == []
