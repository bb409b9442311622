"""What the kernel lets one user, or one container, have: open files, processes and threads.

Owns the least numbers, and where they come from.
"""

from collections.abc import Iterator

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.lines import Line, error, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.placement import plan_placement

LEAST_FILES = 1024
"""Ray's processes on one idle node hold 30 to 60 each (measured), and more with every other process."""
GOOD_FILES = 4096
"""Below it Ray itself warns of lost connections."""
THREADS_OF_PROCESS = 64
"""Of one Ray worker: 22 of Ray's own while it is idle (measured), and those that torch and vLLM start."""
RAY_PROCESSES = 8
"""Of Ray itself on a node, besides its workers."""


def check_limits(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Open files by fixed bounds, threads by the processes that the config starts."""
    yield _open_files(machine)
    yield _threads(config, machine)


def _open_files(machine: Machine) -> Line:
    soft, hard = machine.open_files
    if hard < 0:  # unlimited
        return ok("open files", f"no limit (soft {'none' if soft < 0 else f'{soft:,}'})")
    raised = f"; Ray raises its own to {min(hard, 65_536):,}" if 0 <= soft < hard else ""
    found = f"{soft:,} (hard limit {hard:,}{raised})"
    if hard >= GOOD_FILES:
        return ok("open files", found)
    advice = (
        "raise it for this user: `ulimit -n 65536`, LimitNOFILE in a systemd unit, --ulimit nofile=65536 in "
        "Docker"
    )
    found = f"{found}, {GOOD_FILES:,} is the least that Ray asks for"
    return error("open files", found, advice) if hard < LEAST_FILES else warning("open files", found, advice)


def _threads(config: RunConfig, machine: Machine) -> Line:
    actors = sum(role.replicas for role in plan_placement(config).roles)
    if config.ray.address is not None:
        actors = 1  # the driver: where the actors will be is not known here
    # Ray keeps a worker waiting for each core.
    needed = (actors + machine.num_cpus + RAY_PROCESSES) * THREADS_OF_PROCESS
    left = machine.threads_left
    if left is None:
        return ok("threads", "no limit")
    found = f"{left:,} more may be started, a run takes about {needed:,}"
    if left >= needed:
        return ok("threads", found)
    return warning(
        "threads",
        found,
        "raise `ulimit -u`, or the container's bound (--pids-limit in Docker, podPidsLimit in Kubernetes)",
    )
