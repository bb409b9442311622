"""Where a rank can be reached from."""

import subprocess
import sys

PROGRAM = """
import os, torch, psutil
from datetime import timedelta
from pgpo_async.learner import distributed, ports

os.environ["GLOO_SOCKET_IFNAME"] = "lo"
port = ports.free_port()
distributed._set_environment(0, 1, "127.0.0.1", port, False)
distributed._serve_store("127.0.0.1", port, timedelta(seconds=30))
torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=30))
tensor = torch.ones(2)
torch.distributed.all_reduce(tensor)
for connection in psutil.Process().net_connections("inet"):
    if connection.status == psutil.CONN_LISTEN:
        print(connection.laddr.ip)
distributed.leave_ranks()
assert not distributed._stores
"""


def test_the_ranks_meet_where_the_learner_says_and_nowhere_else():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True
    )
    assert set(done.stdout.split()) == {"127.0.0.1"}
