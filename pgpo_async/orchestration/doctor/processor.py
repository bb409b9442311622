"""The CPU against what is to run on it: instructions of vLLM's CPU build, bfloat16, cores for all threads.

Owns what the CPU build needs, read off its release: its x86 libraries are compiled for AVX2 with F16C, for
AVX-512 (F, BW, DQ, VL), and for AVX-512 with bfloat16; it loads the best that the processor has. Only roles
without a GPU, and only where Ray starts here.
"""

from collections.abc import Iterator

from pgpo_async.config.pipeline import GeneratorConfig, ScorerConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.training import LearnerConfig
from pgpo_async.orchestration.doctor.lines import Line, error, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine

NEEDED = ("avx2", "f16c")
BETTER = ("avx512f", "avx512bw", "avx512dq", "avx512vl")
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
MOST_THREADS_A_CORE = 2.0
"""Working threads a core, from where all stages stand in each other's way."""

Computing = GeneratorConfig | LearnerConfig | ScorerConfig


def roles_on_cpu(config: RunConfig) -> dict[str, Computing]:
    """The roles that compute on this machine's CPU, by name; none of a cluster that is joined."""
    if config.ray.address is not None:
        return {}
    roles: dict[str, Computing] = {"generator": config.generator, "learner": config.learner}
    if config.uses_scorers:
        roles["scorer"] = config.scorer
    return {name: role for name, role in roles.items() if role.gpus == 0}


def check_processor(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield a line on instruction sets, on bfloat16 where it is asked for, and on cores."""
    roles = roles_on_cpu(config)
    if not roles:
        yield ok("processor", f"{machine.num_cpus} cores; no role computes on this machine's CPU")
        return
    if "generator" in roles:
        yield _instructions(machine)
    if config.model.dtype == "bfloat16":
        yield _bfloat16(machine)
    yield _cores(machine, roles)


def _instructions(machine: Machine) -> Line:
    if machine.architecture != "x86_64":
        return ok("processor", f"{machine.architecture}: vLLM's CPU build decides itself what it uses")
    missing = [flag for flag in NEEDED if flag not in machine.cpu_flags]
    if missing:
        return error(
            "processor",
            f"has no {' and no '.join(missing)}, which every library of vLLM's CPU build is compiled for",
            "use a machine that has (Intel since 2013, AMD since 2015; a virtual machine must pass them on), "
            "or generators on GPUs (generator.gpus=1)",
        )
    lacks = [flag for flag in BETTER if flag not in machine.cpu_flags]
    library = f"AVX2, since it has no {lacks[0]}" if lacks else "AVX-512"
    return ok("processor", f"vLLM's CPU build will take its library for {library}")


def _bfloat16(machine: Machine) -> Line:
    if machine.cpu_flags & BFLOAT16:
        return ok("bfloat16", "the processor computes with it")
    return warning(
        "bfloat16",
        "the processor has no instructions for it: it is emulated, right but slow",
        "set model.dtype=float32",
    )


def _cores(machine: Machine, roles: dict[str, Computing]) -> Line:
    total = sum(role.replicas * (role.num_threads or machine.num_cpus) for role in roles.values())
    users = ", ".join(f"{name} {role.replicas} x {role.num_threads or 'all'}" for name, role in roles.items())
    found = f"{total} threads compute ({users}) on {machine.num_cpus} cores"
    if total <= MOST_THREADS_A_CORE * machine.num_cpus:
        return ok("cores", found)
    unbounded = [name for name, role in roles.items() if role.num_threads is None]
    fields = ", ".join(f"{name}.num_threads" for name in unbounded or roles)
    return warning("cores", found, f"give each stage its share of the cores: set {fields}")
