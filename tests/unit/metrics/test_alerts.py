"""Alerts, each against series that fire it and series that just do not."""

import itertools
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from support.promtool import expanded, failures, input_series, needs_promtool, promtool

from pgpo_async.metrics.alerts.alert import MARKS
from pgpo_async.metrics.alerts.rules_file import ALERTS, GROUPS, rules_yaml, runbook_url
from pgpo_async.metrics.board import Board
from pgpo_async.metrics.promql import used_names
from pgpo_async.metrics.registry import REGISTRY

CASES = {
    name: cases
    for path in sorted(Path(__file__).with_name("alert_cases").glob("*.yaml"))
    for name, cases in yaml.safe_load(path.read_text()).items()
}
QUIET_RUN = {
    "pgpo_run_info": "1x600",
    "pgpo_step": "10x600",
    "pgpo_wanted_steps": "100x600",
    "pgpo_limit_lag_steps": "2x600",
}
"""Behind each case, unless the case says otherwise."""


def as_test(alert, case, *, fires):
    told = {"<run>": "r", "<role>": case.get("also", {}).get("role", "")}

    def text(template):
        return re.sub(r"<\w+>", lambda mark: told.get(mark.group(), case.get("says", "")), template)

    expected = {
        "exp_labels": {"run": "r", "severity": alert.severity, **case.get("also", {})},
        "exp_annotations": {
            "summary": text(alert.summary),
            "description": text(alert.description),
            "runbook_url": runbook_url(alert),
        },
    }
    return {
        "name": case["when"],
        "interval": "1m",
        "input_series": input_series(QUIET_RUN | case["series"]),
        "alert_rule_test": [
            {
                "alertname": alert.name,
                "eval_time": case["at"],
                "exp_alerts": [expected] if fires else [],
            }
        ],
    }


@needs_promtool
@pytest.mark.parametrize("name", list(ALERTS))
def test_an_alert_fires_where_it_should_and_just_beside_it_does_not(name, tmp_path):
    cases, alert = CASES[name], ALERTS[name]
    assert len(cases["fires"]) >= 1
    assert len(cases["quiet"]) >= 2
    tests = [as_test(alert, case, fires=True) for case in cases["fires"]]
    tests += [as_test(alert, case, fires=False) for case in cases["quiet"]]
    assert not failures(tmp_path, tests, only={name})


def fired(names):
    """Each case in which one of the alerts fires, with its series until it is asked."""
    for name in names:
        for case in CASES[name]["fires"]:
            at = int(case["at"].removesuffix("m"))
            yield ALERTS[name], case, {of: expanded(v)[:at] for of, v in (QUIET_RUN | case["series"]).items()}


@needs_promtool
def test_alerts_end_with_their_run(tmp_path):
    tests = []
    for alert, case, series in fired(set(ALERTS) - {"PgpoVanished"}):
        over = {of: " ".join([*values, "stale"]) for of, values in series.items()}
        tests.append(as_test(alert, case | {"series": over}, fires=False))
    assert not failures(tmp_path, tests)


@needs_promtool
def test_alerts_of_steps_end_with_the_last_step_whatever_the_run_does_then(tmp_path):
    of_steps = {alert.name for room in ("pgpo-pipeline", "pgpo-learning") for alert in GROUPS[room]}
    tests = []
    for alert, case, series in fired(of_steps - {"PgpoActorsDown", "PgpoActorSilent"}):
        done = case["series"] | {"pgpo_step": " ".join([*series["pgpo_step"], "100x60"])}
        tests.append(as_test(alert, case | {"series": done}, fires=False))
    assert not failures(tmp_path, tests)


def test_there_are_cases_for_alerts_only():
    assert set(CASES) == set(ALERTS)


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(rules_yaml())
    code, said = promtool("check", "rules", "--lint-fatal", str(tmp_path / "rules.yaml"))
    assert (code, f"{len(ALERTS)} rules found" in said) == (0, True), said


@needs_promtool
def test_promtool_finds_nothing_to_say_of_any_metric():
    board = Board("some-run")
    for metric in REGISTRY.values():
        use = {"gauge": board.set, "counter": board.add, "histogram": board.observe}[metric.kind]
        for values in itertools.product(*(given or ("one", "two") for given in metric.labels.values())):
            use(metric, 1.0, **dict(zip(metric.labels, values, strict=True)))
    assert promtool("check", "metrics", text=generate_latest(board.registry).decode()) == (0, "")


def test_an_alert_reads_metrics_of_the_registry_only():
    for alert in ALERTS.values():
        assert used_names(alert.expr, REGISTRY) <= set(REGISTRY), alert.name


def test_every_mark_of_a_text_becomes_a_template():
    assert "<" not in "".join(MARKS.values())
    assert not re.search(r"<\w+>", rules_yaml())
