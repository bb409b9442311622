"""promtool, asked about the rules as they would be written now; and series in its notation."""

import re
import shutil
import subprocess
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgpo_async.metrics.alerts.rules_file import ALERTS, rules_yaml

LABELS = 'run="r", instance="driver:9464", job="pgpo"'
"""Of every series; what a scrape adds must not get into an alert."""

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*arguments: str, text: str | None = None) -> tuple[int, str]:
    """Its exit code, and all that it printed."""
    done = subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def failures(folder: Path, tests: Sequence[Mapping[str, Any]], only: Container[str] = ALERTS) -> str:
    """What promtool says of tests that do not hold, where there are these alerts."""
    groups = yaml.safe_load(rules_yaml())["groups"]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] in only]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": list(tests)}
    (folder / "tests.yaml").write_text(yaml.safe_dump(whole))
    code, said = promtool("test", "rules", str(folder / "tests.yaml"))
    return said if code else ""


def expanded(values: str) -> list[str]:
    """Each minute's value of promtool's short notation."""
    found = []
    for word in values.split():
        first, by, times = re.fullmatch(r"(-?[\d.]+|_|stale)(?:([+-][\d.]+)?x(\d+))?", word).groups()
        for number in range(int(times or 0) + 1):
            found.append(
                first if first in ("_", "stale") else f"{float(first) + number * float(by or 0):.10g}"
            )
    return found


def input_series(series: Mapping[str, str]) -> list[dict[str, str]]:
    """Series as promtool reads them, each minute's value written out."""
    found = []
    for name, values in series.items():
        metric, _, labels = name.partition("{")
        inner = ", ".join(filter(None, [LABELS, labels.removesuffix("}")]))
        found.append({"series": f"{metric}{{{inner}}}", "values": " ".join(expanded(values))})
    return found
