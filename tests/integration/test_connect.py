"""Who can reach a Ray that a run starts: this machine alone, with a token."""

import json
import os
import subprocess
import sys

PROGRAM = """
import json, os, sys
import psutil, ray
from pgpo_async.config import load_config
from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.orchestration.connect import connect

overrides = ["ray.object_store_bytes=80000000", "ray.num_cpus=1"]
connect(load_config("configs/local.yaml", overrides), "reach")
try:
    mode = ray.get(ray.remote(lambda: os.environ.get("RAY_AUTH_MODE")).remote(), timeout=60)
    listening = {}
    for process in psutil.Process().children(recursive=True):
        for connection in process.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                listening[f"{process.name()} {connection.laddr.port}"] = connection.laddr.ip
    print(json.dumps({"mode": mode, "listening": listening, "address": ray.util.get_node_ip_address()}))
finally:
    ray.shutdown()
"""


def test_a_ray_started_here_asks_for_a_token_and_listens_on_the_loopback_interface_only(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "RAY_AUTH_MODE"}
    environment |= {"HOME": str(tmp_path), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env=environment,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["mode"] == "token"
    assert (tmp_path / ".ray" / "auth_token").stat().st_size > 0
    assert found["address"] == "127.0.0.1"
    names = " ".join(found["listening"])
    assert "gcs_server" in names
    assert "raylet" in names
    assert {ip.removeprefix("::ffff:") for ip in found["listening"].values()} == {"127.0.0.1"}
