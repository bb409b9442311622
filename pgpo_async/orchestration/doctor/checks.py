"""All checks in their order, from cheap to dear, and what runs them.

Owns which run in a process of their own and for how long, what is not looked at since something it needs is
broken, and that a check's own failure is a line too. Called by `command`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.alone import look_alone
from pgpo_async.orchestration.doctor.bytecode import check_bytecode
from pgpo_async.orchestration.doctor.disk import check_disk
from pgpo_async.orchestration.doctor.inputs import check_checkpoint_url, check_inputs, check_reward
from pgpo_async.orchestration.doctor.joined_ray import check_ray
from pgpo_async.orchestration.doctor.libraries import check_deepspeed, check_torch, check_vllm
from pgpo_async.orchestration.doctor.limits import check_limits
from pgpo_async.orchestration.doctor.lines import Line, error, in_words, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.doctor.memory import check_memory
from pgpo_async.orchestration.doctor.other_runs import check_other_runs
from pgpo_async.orchestration.doctor.parity import check_parity
from pgpo_async.orchestration.doctor.ports import check_ports
from pgpo_async.orchestration.doctor.processor import check_processor
from pgpo_async.orchestration.doctor.versions import check_plugin, check_versions

_IMPORT_S = 180.0
_PARITY_S = 300.0
"""Beyond the engine's start: sampling, ending, loading the trainer's model, scoring."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """`look` runs here, or, where there is a `timeout_s`, in a process of its own for at most so long.

    `needs` are checks without whose good end this one tells nothing new. `by_hand`: how to see its failure
    without the doctor.
    """

    name: str
    look: Callable[[], Iterable[Line]]
    timeout_s: float | None = None
    needs: tuple[str, ...] = ()
    by_hand: str = "tell the authors: a check must never fail by itself"


def all_checks(config: RunConfig, machine: Machine, *, quick: bool = False) -> list[Check]:
    """Return the checks for a config, in their order; `quick` starts no engine."""
    gpu_engine = config.generator.gpus > 0 if config.ray.address is None else None
    see = "run `python -c 'import {}'` to see it whole"
    checks = [
        Check(name="versions", look=partial(check_versions, machine.packages, gpu_engine=gpu_engine)),
        Check(name="plugin", look=partial(check_plugin, machine.packages, machine.environ)),
        Check(name="bytecode", look=partial(check_bytecode, machine.environ)),
        Check(name="limits", look=partial(check_limits, config, machine)),
        Check(name="processor", look=partial(check_processor, config, machine)),
        Check(name="ports", look=partial(check_ports, config)),
        Check(name="other runs", look=partial(check_other_runs, config, machine)),
        Check(
            name="memory",
            look=partial(check_memory, config, machine),
            timeout_s=60.0,
            by_hand="look at data.source, model.path and /dev/shm: a disk over the network may not answer",
        ),
        Check(
            name="disk",
            look=partial(check_disk, config, machine),
            timeout_s=60.0,
            by_hand="run `df` on output_dir: a disk over the network may not answer",
        ),
        Check(
            name="ray",
            look=partial(check_ray, config, machine),
            timeout_s=90.0,
            by_hand="run `ray status` on a node of the cluster, and check ray.address and firewalls",
        ),
        Check(
            name="torch",
            look=partial(check_torch, config, machine),
            timeout_s=_IMPORT_S,
            by_hand=see.format("torch, torchvision"),
        ),
        Check(
            name="deepspeed",
            look=check_deepspeed,
            timeout_s=_IMPORT_S,
            needs=("torch",),
            by_hand=see.format("deepspeed"),
        ),
        Check(
            name="vllm",
            look=partial(check_vllm, config),
            timeout_s=_IMPORT_S,
            needs=("torch",),
            by_hand=see.format("vllm._custom_ops"),
        ),
        Check(
            name="reward",
            look=partial(check_reward, config),
            timeout_s=120.0,
            by_hand="import the module of reward.function by hand",
        ),
        Check(
            name="inputs",
            look=partial(check_inputs, config, machine),
            timeout_s=300.0,
            needs=("torch",),
            by_hand="look at model.path and data.source: a disk over the network, or the Hub, may not answer",
        ),
    ]
    if config.train.checkpoint_url is not None:
        checks.append(
            Check(
                name="checkpoint_url",
                look=partial(check_checkpoint_url, config),
                timeout_s=60.0,
                by_hand="check train.checkpoint_url and its credentials, or set it to null",
            )
        )
    if quick:
        checks.append(Check(name="parity", look=_not_tried))
    else:
        checks.append(
            Check(
                name="parity",
                look=partial(check_parity, config, machine),
                timeout_s=config.generator.start_timeout_s + _PARITY_S,
                needs=("versions", "plugin", "processor", "memory", "torch", "vllm", "inputs"),
                by_hand="change generator.engine, or what the message names; VLLM_LOGGING_LEVEL=DEBUG tells "
                "more, generator.start_timeout_s bounds the engine's start",
            )
        )
    return checks


def _not_tried() -> Iterator[Line]:
    yield ok("parity", "not tried (--quick)")


def examine(checks: Iterable[Check], doing: Callable[[str], None] = lambda _text: None) -> Iterator[Line]:
    """Run checks in order and yield their lines; `doing` is told of each that may take a while."""
    broken: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in broken]
        if missing:
            broken.add(check.name)
            yield warning(
                check.name,
                f"not looked at: there are errors above in {', '.join(missing)}",
                "mend those first",
            )
            continue
        for line in _run(check, doing):
            if line.level == "error":
                broken.add(check.name)
            yield line


def _run(check: Check, doing: Callable[[str], None]) -> Iterator[Line]:
    try:
        if check.timeout_s is None:
            yield from check.look()
            return
        doing(f"{check.name} (at most {check.timeout_s:.0f} s)")
        yield from look_alone(check.name, check.look, timeout_s=check.timeout_s, by_hand=check.by_hand)
    except Exception as cause:
        yield error(check.name, f"the check failed: {in_words(cause)}", check.by_hand)
