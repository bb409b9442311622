"""An estimate as a table of memory by role, and as lines of what was assumed. For `plan` and dry runs."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.estimate import Estimate
from pgpo_async.orchestration.planning.known_models import KNOWN_MODELS
from pgpo_async.orchestration.planning.plan_memory import PlannedMemory
from pgpo_async.orchestration.planning.units import in_bytes

_UNKNOWN = (
    "memory of the roles: not known, model.path is neither on this machine nor of a known shape "
    f"({', '.join(KNOWN_MODELS)})"
)


def print_memory(
    console: Console, config: RunConfig, found: Estimate | None, memory: PlannedMemory | None
) -> None:
    """Print what each role keeps where, and what that rests on.

    `found` and `memory` are None where the model's shape or size is not known.
    """
    if found is not None or memory is not None:
        console.print(_table(config, found, memory))
    lines = [f"assumed: {line}" for line in found.assumptions] if found is not None else [_UNKNOWN]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _table(config: RunConfig, found: Estimate | None, memory: PlannedMemory | None) -> Table:
    drawn = Table(title="memory by role (estimates)", title_justify="left")
    for name in ("where", "what", "size"):
        drawn.add_column(name, justify="right" if name == "size" else "left")
    for where, what, size in (*_of_roles(config, found), *_of_hosts(found, memory)):
        if where:
            drawn.add_section()
        drawn.add_row(where, what, in_bytes(size))
    if found is not None and found.devices:
        drawn.add_section()
        for device in found.devices:
            where = f"{device.num_gpus} x {found.gpu.name}: {' + '.join(device.roles)}"
            share = device.num_bytes / found.gpu.memory_bytes
            drawn.add_row(where, f"of {found.gpu.memory_gib:g} GiB ({share:.0%})", in_bytes(device.num_bytes))
    return drawn


def _of_roles(config: RunConfig, found: Estimate | None) -> Iterator[tuple[str, str, int]]:
    for memory in found.roles if found is not None else ():
        replicas = getattr(config, memory.role).replicas
        on = f"{memory.gpus:g} GPU" if memory.gpus else "host"
        where = f"{memory.role} ({replicas} x {on})"
        for part in memory.parts:
            yield where, part.what, part.num_bytes
            where = ""
        yield "", "all", memory.num_bytes


def _of_hosts(found: Estimate | None, memory: PlannedMemory | None) -> Iterator[tuple[str, str, int]]:
    if found is not None and found.offloaded_bytes:
        yield "hosts of the learner", "optimizer state and gradients, all ranks", found.offloaded_bytes
    if memory is None:
        return
    yield "host of learner rank 0", "snapshots being published", memory.snapshot_bytes
    yield "/dev/shm of each node", "staged weights, beside generators and scorers", memory.staged_bytes
    yield "object store", "groups in the queue, at most", memory.queue_bytes
    yield "", "versions of the weights", memory.weight_store_bytes
