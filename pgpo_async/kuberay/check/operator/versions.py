"""Versions of Ray, as the operator compares them."""

import re

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def parsed(version: str) -> tuple[int, int, int] | None:
    """Return a version's three numbers; None where it is no version."""
    found = _VERSION.match(version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def older_than(version: str, least: str) -> bool:
    """Whether a version is older, or none at all."""
    found, bound = parsed(version), parsed(least)
    return found is None or bound is None or found < bound
