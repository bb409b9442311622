"""The README's first command, run once a session: `test_demo_run` looks at it, `test_eval` asks its model."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.prometheus import MISSING, Prometheus, free_port

MAX_S = 1500.0
RULES = Path("k8s/monitoring/rules.yaml")


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The finished run: its folder, what it printed, the server that watched it, and one scrape as text."""
    home = tmp_path_factory.mktemp("demo")
    port = free_port()
    # As the README has it: under uv Ray would start its workers through uv, if the program did not see to it.
    program = (
        ["uv", "run", "--no-sync", "pgpo-async"]
        if shutil.which("uv")
        else [sys.executable, "-m", "pgpo_async"]
    )
    command = [
        *program, "launch", "configs/local.yaml", f"output_dir={home / 'runs'}",
        f"metrics.port={port}", "metrics.every_s=1", "metrics.engine=true", "metrics.mirror_to_ray=true",
        "metrics.samples_every=4", "train.save_every=12", "metrics.tensorboard=true",
    ]  # fmt: skip
    prometheus = None if MISSING else Prometheus(home, [f"127.0.0.1:{port}"], [RULES.absolute()])
    seen = SimpleNamespace(prometheus=prometheus, exposition="", healthz=set(), start_s=time.time())
    left_out = ("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_AUTH_MODE")  # the tests' own
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"HOME": str(home), "COLUMNS": "200"}
    with (home / "log").open("wb") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        watch(run, home, port, seen)
        seen.end_s = time.time()
        seen.said = (home / "log").read_text()
        assert run.returncode == 0, seen.said[-5000:]
        (seen.folder,) = (home / "runs").iterdir()
        yield seen
    finally:
        if run.poll() is None:
            run.kill()
        if prometheus is not None:
            prometheus.close()


def watch(run, home, port, seen):
    """Until the run ends: tell Prometheus of Ray's ports when they are known, keep the last scrape."""
    deadline_s = time.monotonic() + MAX_S
    told = False
    while run.poll() is None:
        assert time.monotonic() < deadline_s, "the demo does not end"
        time.sleep(0.5)
        for path in (home / "runs").glob("*/status.json"):
            status = json.loads(path.read_text())
            ray_urls = [url for url in status["metrics_urls"] if str(port) not in url]
            if ray_urls and not told and seen.prometheus is not None:
                seen.prometheus.also(url.split("/")[2] for url in ray_urls)
                told = True
        try:
            seen.exposition = fetch(f"http://127.0.0.1:{port}/metrics")
            seen.healthz.add(fetch(f"http://127.0.0.1:{port}/healthz"))
        except OSError:  # before it begins, and after its end
            continue


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()
