"""The README's first command, as a user runs it: what it learns, and all that can be seen of it meanwhile.

One real run of `configs/local.yaml` (`conftest.demo`), scraped by a real Prometheus each second.
"""

import json
import subprocess
import sys

import pytest
from support.browser import BROWSER, open_page
from support.browser import WHY_SKIPPED as NO_BROWSER
from support.prometheus import MISSING, WHY_SKIPPED
from support.seen_words import split_dependency

from pgpo_async.metrics.dashboards.catalogue import expressions
from pgpo_async.metrics.dashboards.foreign import ALERTS, ENGINE_EVENT
from pgpo_async.metrics.registry import REGISTRY
from pgpo_async.report.tokens.run import EntropyRequest, view_of_run
from pgpo_async.report.tokens.samples import read_samples

needs_browser = pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)
needs_prometheus = pytest.mark.skipif(bool(MISSING), reason=WHY_SKIPPED)

# Of what the registry says is conditional, whose condition does not hold in this run.
ABSENT = {
    "pgpo_reference_kl_nats",  # no reference model
    "pgpo_shaper",  # no shaper of the whole batch
    "pgpo_quarantined_total",  # nothing was
    "pgpo_gpu_memory_bytes",
    "pgpo_gpu_use_ratio",
}


UNMET = {REGISTRY[name].condition for name in ABSENT} | {
    "it happened",  # annotations of restarts and steps undone
    ALERTS.condition,  # no alert
    ENGINE_EVENT,  # vLLM counted none of these
}
"""Conditions that do not hold in this run."""


def test_the_demo_learns_in_flight_within_its_lag_and_accounts_for_every_prompt(demo):
    summary = json.loads((demo.folder / "summary.json").read_text())
    accounting = summary["accounting"]
    assert summary["status"] == "completed"
    assert summary["accuracy_before"] <= 0.55
    assert summary["accuracy_after"] >= 0.85
    assert summary["weight_versions_loaded"] >= 10
    assert summary["rollouts_with_several_versions"] > 0
    assert 0 < summary["max_lag_seen"] <= summary["max_lag_allowed"]
    assert accounting["drawn"] == sum(num for name, num in accounting.items() if name != "drawn")
    assert summary["accounting_balanced"]
    assert summary["left_behind"] == []


@needs_prometheus
def test_every_metric_has_a_sample_or_says_why_not(demo):
    found = demo.prometheus.names(demo.start_s, demo.end_s)
    own = {name for name in found if name.startswith("pgpo_")}
    expected = {f"{n}_bucket" if m.kind == "histogram" else n for n, m in REGISTRY.items()}
    missing = expected - own
    assert missing <= ABSENT, missing - ABSENT
    assert all(REGISTRY[name].condition for name in missing), "absent without a condition"
    parts = {f"{n}{end}" for n, m in REGISTRY.items() for end in ("_bucket", "_sum", "_count") if m.buckets}
    assert own <= expected | parts, "set outside the registry"


@needs_prometheus
def test_promtool_finds_nothing_wrong_with_what_is_exported(demo):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=demo.exposition, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_prometheus
def test_the_last_values_are_those_of_the_run_folder(demo):
    lines = (demo.folder / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    at = {"time": demo.end_s - 0.5}
    value = lambda name: float(demo.prometheus.get("query", query=name, **at)["result"][0]["value"][1])  # noqa: E731
    assert value("last_over_time(pgpo_step[1m])") == last["step"] == len(lines)
    assert value("last_over_time(pgpo_steps_total[1m])") == len(lines)
    assert value("last_over_time(pgpo_loss[1m])") == pytest.approx(last["learner/loss"])
    assert value('last_over_time(pgpo_reward{part="reward"}[1m])') == pytest.approx(last["reward"])
    trained = json.loads((demo.folder / "summary.json").read_text())["accounting"]["trained"]
    assert value('last_over_time(pgpo_prompts_total{end="trained"}[1m])') == trained
    assert value("last_over_time(pgpo_lag_steps_count[1m])") == trained
    assert value("last_over_time(pgpo_update_pause_seconds_count[1m])") == len(lines), (
        "one engine, all versions"
    )


@needs_prometheus
def test_no_alert_fires_and_every_rule_is_healthy(demo):
    groups = demo.prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    fired = demo.prometheus.get(
        "query_range", query='ALERTS{alertstate="firing"}', start=demo.start_s, end=demo.end_s, step="2"
    )
    assert [series["metric"]["alertname"] for series in fired["result"]] == []


@needs_prometheus
def test_every_expression_of_every_dashboard_has_data_or_a_condition_that_does_not_hold(demo):
    silent = [
        expression
        for expression in expressions()
        if not demo.prometheus.has_data(expression.expr, demo.start_s, demo.end_s)
    ]
    unexplained = [e for e in silent if not set(e.conditions) & UNMET]
    assert unexplained == [], "no data"
    print(f"{len(list(expressions()))} expressions, without data: {sorted(e.panel for e in silent)}")


@needs_prometheus
def test_metrics_are_mirrored_to_ray_and_the_engines_own_are_there(demo):
    found = demo.prometheus.names(demo.start_s, demo.end_s)
    assert "ray_pgpo_step" in found
    assert "ray_pgpo_steps_total" in found
    assert any(name.startswith("ray_vllm") for name in found)


def test_the_driver_says_that_it_is_well(demo):
    assert demo.healthz == {"ok\n"}


def test_tensorboard_holds_every_step_and_the_samples(demo):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(demo.folder / "tensorboard"))
    events.Reload()
    lines = (demo.folder / "metrics.jsonl").read_text().splitlines()
    assert [event.step for event in events.Scalars("learner/loss")] == list(range(1, len(lines) + 1))
    assert events.Images("samples/0")[-1].step == len(lines)


def test_samples_span_the_run(demo):
    steps = [int(path.name.removeprefix("step-")) for path in sorted((demo.folder / "samples").iterdir())]
    assert steps == [1, 4, 8, 12, 16, 20, 24]


def command(*arguments):
    """What a command prints; it must end well."""
    program = [sys.executable, "-m", "pgpo_async"]
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_browser
@pytest.mark.parametrize("page", ["report", "tokens"])
def test_a_page_opens_from_disk_without_the_network_or_a_complaint(demo, page, tmp_path):
    path = tmp_path / f"{page}.html"
    command(page, demo.folder, "--output", path)
    assert path.stat().st_size < 5 << 20
    seen = open_page(path, tmp_path)
    assert seen.requests == []
    assert seen.console == []
    assert demo.folder.name in seen.dom
    said = {"report": ("completed", "24", "boxed{", "Accounting"), "tokens": ("boxed", "step 24")}
    for text in said[page]:
        assert text in seen.dom
    assert seen.screenshot.stat().st_size > 20_000


def test_the_words_that_say_what_is_seen_are_the_dependent_ones(demo):
    view = view_of_run(demo.folder, read_samples(demo.folder), EntropyRequest(wanted=False), print)
    saying, others = [], []
    for group in view.groups:
        first, rest = split_dependency(group)
        saying += first
        others += rest
    ratio = (sum(saying) / len(saying)) / (sum(others) / len(others))
    print(
        f"{len(saying)} words that say what is seen depend {ratio:.0f} times as much as {len(others)} others"
    )
    assert ratio >= 5


def test_status_of_a_finished_run_tells_its_end(demo):
    text = command("status", demo.folder)
    assert "completed: 24 steps" in text
