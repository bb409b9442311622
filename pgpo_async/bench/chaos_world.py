"""The machines and processes that `bench chaos` strikes: Ray nodes side by side here, and a driver.

The head node, with Ray's own control, the driver and what is placed beside it, is a machine of its own and
stays; the others come and go with all that runs on them. Owns which processes play which role, told by their
titles, as Ray sets them.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pgpo_async.bench.chaos_plan import Blow
from pgpo_async.config import dump_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import StageFailed

CLASSES = {
    "generator": "SleepingGenerator",
    "scorer": "SleepingScorer",
    "learner": "SleepingLearner",
    "queue": "QueueActor",
    "store": "StoreActor",
    "reward": "RewardWorker",
}
NODE_CPUS = 4
_BEGINNING = re.compile(r"__init__|\.start$|\.prepare$")
_FAST_DETECTION = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 4,
    "prestart_worker_first_driver": False,
}
"""Of nodes that do not answer: Ray's own would take half a minute."""


class Machines:
    """A head node without work, and `num_nodes` with `NODE_CPUS` each. Close it."""

    def __init__(self, num_nodes: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "_system_config": _FAST_DETECTION, **_node_arguments()},
        )
        self._nodes = [self._add() for _ in range(num_nodes)]
        self._frozen: list[Any] = []

    @property
    def address(self) -> str:
        """For `ray.address`."""
        return str(self._cluster.address)

    def _add(self) -> Any:
        return self._cluster.add_node(num_cpus=NODE_CPUS, **_node_arguments())

    def strike(self, blow: Blow) -> None:
        """End or freeze a node with all that runs on it; another comes when `replace` is called."""
        node = self._nodes.pop(int(blow.which * len(self._nodes)))
        for process in _family(node):
            send(process, blow.signal)
        self._frozen.append(node)

    def replace(self) -> None:
        """Take away what is left of nodes that were struck, and start others."""
        for node in self._frozen:
            for process in _family(node):
                send(process, signal.SIGKILL)
            # Ray asserts that nothing is left, which is a matter of moments.
            with suppress(AssertionError):
                self._cluster.remove_node(node, allow_graceful=False)
            self._nodes.append(self._add())
        self._frozen = []

    def close(self) -> None:
        """End all nodes, and let nobody on this machine take them for a cluster that runs."""
        from ray._common.utils import reset_ray_address

        for node in self._frozen:
            for process in _family(node):
                send(process, signal.SIGKILL)
        for node in [*self._nodes, self._cluster.head_node]:
            with suppress(AssertionError):
                self._cluster.remove_node(node, allow_graceful=False)
        reset_ray_address()


def _node_arguments() -> dict[str, Any]:
    return {"object_store_memory": 128 << 20, "include_dashboard": False}


def _family(node: Any) -> list[psutil.Process]:
    """A node's processes: what Ray started for it, and what those started."""
    found: list[psutil.Process] = []
    for infos in node.all_processes.values():
        for info in infos:
            with suppress(psutil.Error):
                process = psutil.Process(info.process.pid)
                found += [*process.children(recursive=True), process]
    return found


def send(process: psutil.Process, number: signal.Signals) -> bool:
    """Send a signal; return whether the process was still there."""
    try:
        process.send_signal(number)
    except psutil.Error:
        return False
    return True


class Driver:
    """A run's driver in a process of its own, that may be started again and again.

    Its config and what it prints are files in `home`; the config's path stands between a module with its
    arguments and those `after`. As a context it is started, and ended if it still runs.
    """

    def __init__(self, config: RunConfig, home: Path, *module: str, after: Sequence[str] = ()) -> None:
        path, self._log = home / "config.yaml", home / "driver.log"
        path.write_text(dump_config(config))
        self._command = [sys.executable, "-m", *module, str(path), *after]
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def sleeping(cls, config: RunConfig, home: Path) -> "Driver":
        """Of `sleeping_run`, resumed as often as it is started."""
        return cls(config, home, "pgpo_async.bench.sleeping_run", after=["auto"])

    @classmethod
    def launching(cls, config: RunConfig, home: Path) -> "Driver":
        """Of `pgpo-async launch`."""
        return cls(config, home, "pgpo_async", "launch")

    def __enter__(self) -> "Driver":
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.code is None:
            self.kill()

    def require_good_end(self) -> None:
        """Raise StageFailed if the run has failed."""
        if self.code != 0:
            raise StageFailed(f"the run did not end well:\n{self.said(30)}", role="driver")

    def start(self) -> None:
        """Start, or resume."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "start must come first"
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        assert self._process is not None, "start must come first"
        return self._process.poll()

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None, "start must come first"
        self._process.kill()
        self._process.wait()

    def said(self, lines: int = 12) -> str:
        """The end of what it printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


def count_steps(runs: Path, *names: str) -> int:
    """Return the steps told in the run folders below `runs`, in files of these names."""
    paths = [path for name in names for path in runs.glob(f"*/{name}.jsonl")]
    return sum(path.read_bytes().count(b"\n") for path in paths)


def at_work(role: str) -> list[psutil.Process]:
    """The processes of a role that have started and are not frozen, in a fixed order."""
    name = CLASSES[role]
    return [process for process, title in titled() if name in title and not _BEGINNING.search(title)]


def titled() -> Iterator[tuple[psutil.Process, str]]:
    """Ray's actor processes that are not frozen, in a fixed order, with their titles: class and method."""
    for process in sorted(psutil.process_iter(["cmdline", "status"]), key=lambda process: process.pid):
        title = " ".join(process.info["cmdline"] or ())
        stopped = process.info["status"] in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        if title.startswith("ray::") and not stopped:
            yield process, title.strip()
