"""The runbook: what to do about each alert, with panels and fields that exist."""

import re
from pathlib import Path

from pgpo_async.config.schema import RunConfig
from pgpo_async.metrics.alerts.rules_file import ALERTS, RUNBOOK
from pgpo_async.metrics.dashboards.catalogue import DASHBOARDS

REPOSITORY = Path(__file__).parents[3]


def entries():
    """The runbook's text for each alert, by its heading."""
    text = (REPOSITORY / RUNBOOK).read_text(encoding="utf-8")
    section = re.split(
        r"^## ", text.partition("\n## Alerts\n")[2] or text.partition("## Alerts\n")[2], flags=re.M
    )
    parts = re.split(r"^### (\w+)\n", section[0], flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_alert_has_its_entry_in_the_runbook_and_each_entry_its_alert():
    assert set(entries()) == set(ALERTS)
    for name, text in entries().items():
        lines = [line for line in text.splitlines() if line]
        assert lines[0].startswith(f"*{ALERTS[name].severity}.* "), name
        for part in ("Look", "Causes", "Do"):
            assert any(line.startswith(f"- **{part}**: ") for line in lines), f"{name}: {part}"


def test_the_runbook_names_panels_and_fields_that_exist():
    panels = {
        f"{page.title.split()[0]} / {panel.title}"
        for page in DASHBOARDS
        for row in page.rows
        for panel in row.panels
    }
    for name, text in entries().items():
        assert set(re.findall(r"\*\*([A-Z]\w+ / [^*]+)\*\*", text)) <= panels, name
        for field in re.findall(r"`([a-z]+\.[a-z_.]+)(?:=\w+)?`", text):
            if not field.endswith((".jsonl", ".json", ".parquet")):
                assert_is_a_field(field)


def assert_is_a_field(dotted):
    value = RunConfig()
    for part in dotted.split("."):
        assert hasattr(value, part), f"{dotted} is no field"
        value = getattr(value, part)
