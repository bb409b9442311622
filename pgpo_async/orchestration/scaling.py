"""`pgpo-async scale`: another number of generators or scorers in a running job. Both its ends."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.requests import ask

ROLES = ("generator", "scorer")
ANSWER_TIMEOUT_S = 60.0


def scale_run(run: Path, wanted: Sequence[str]) -> str:
    """Ask a job for `generator=4 scorer=2`; return its answer. Raises as `requests.ask`."""
    return ask(run, {"scale": parse_counts(wanted)}, timeout_s=ANSWER_TIMEOUT_S)


def parse_counts(wanted: Sequence[str]) -> dict[str, int]:
    """Return the counts by role. Raises ConfigError with a line for each that is wrong."""
    counts: dict[str, int] = {}
    issues = []
    for text in wanted:
        match = re.fullmatch(r"(\w+)=(\d+)", text)
        if match is None:
            issues.append(f"must be ROLE=NUMBER, for instance generator=4, got {text!r}")
        elif match[1] not in ROLES:
            near = difflib.get_close_matches(match[1], ROLES, n=1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            issues.append(f"the role must be one of {', '.join(ROLES)}, got {match[1]!r}{hint}")
        elif int(match[2]) < 1:
            issues.append(f"{match[1]} must be at least 1, got {match[2]}")
        else:
            counts[match[1]] = int(match[2])
    if issues or not counts:
        raise ConfigError(issues or "a role and its number must be given, for instance generator=4")
    return counts


def answer_request(cluster: Any, request: Mapping[str, Any]) -> str:
    """Do what is asked of a running job."""
    lines = [cluster.resize(role, int(count)) for role, count in request["scale"].items()]
    return "; ".join(lines)
