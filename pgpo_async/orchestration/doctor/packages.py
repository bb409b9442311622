"""Which Python packages are installed, and which this one asks for, by their own metadata.

Owns the facts; what is wrong with them is said by `versions`. Imports none of the packages: the version of
one that cannot be imported is known all the same.
"""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata

OWN_NAME = "pgpo-async"
PLUGIN_GROUP = "vllm.general_plugins"


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages:
    """`versions` by normalized name: of several the first on the path, as Python imports it.

    `requirements` are as written, None where this package is not installed itself. `plugins` are vLLM's.
    """

    python: str
    requires_python: str
    versions: Mapping[str, str]
    requirements: tuple[str, ...] | None
    plugins: Mapping[str, str] = field(default_factory=dict)


def normalized(name: str) -> str:
    """A distribution's name as indices compare it."""
    return name.lower().replace("_", "-").replace(".", "-")


def installed_packages() -> Packages:
    """Look at the path of this process."""
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        # Half-deleted packages leave folders without either.
        name, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if name and version:
            versions.setdefault(normalized(name), version)
    own = versions.get(OWN_NAME)
    return Packages(
        python=platform.python_version(),
        requires_python=metadata.metadata(OWN_NAME)["Requires-Python"] or "" if own else "",
        versions=versions,
        requirements=tuple(metadata.requires(OWN_NAME) or ()) if own else None,
        plugins={entry.name: entry.value for entry in metadata.entry_points(group=PLUGIN_GROUP)},
    )
