"""Findings as lines and as JSON. Called by `command`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.check.manifest import Finding, Level


def count(findings: Sequence[Finding], level: Level) -> int:
    """Return the number of errors, or of warnings."""
    return sum(finding.level == level for finding in findings)


def lines(findings: Sequence[Finding], num_objects: int) -> list[str]:
    """Return a line for each finding, and the summary."""
    told = [f"warning: {each}" if each.level == "warning" else str(each) for each in findings]
    errors, warnings = count(findings, "error"), count(findings, "warning")
    return [
        *told,
        f"{_plural(num_objects, 'object')}: {_plural(errors, 'error')}, {_plural(warnings, 'warning')}",
    ]


def as_json(findings: Sequence[Finding], num_objects: int) -> dict[str, Any]:
    """Return the same figures for other programs."""
    return {
        "errors": count(findings, "error"),
        "warnings": count(findings, "warning"),
        "objects": num_objects,
        "findings": [asdict(finding) for finding in findings],
    }


def write_json(path: Path, findings: Sequence[Finding], num_objects: int) -> None:
    """Write them to a file. Raises ConfigError where that cannot be."""
    try:
        path.write_text(json.dumps(as_json(findings, num_objects), indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"--json: {path} cannot be written: {error.strerror}") from None


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
