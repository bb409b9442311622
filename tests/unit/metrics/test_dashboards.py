"""Dashboards: every metric is shown, every query holds to its rules, and Grafana can read the files."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pgpo_async.contracts import ConfigError
from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import learning_metrics as learning
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.dashboards import foreign
from pgpo_async.metrics.dashboards.catalogue import DASHBOARDS, LEFT_OUT, expressions
from pgpo_async.metrics.dashboards.classic import as_json
from pgpo_async.metrics.dashboards.panel import COLUMNS, KNOWN, RUNS, resolved_condition
from pgpo_async.metrics.monitoring_command import monitoring
from pgpo_async.metrics.monitoring_files import monitoring_texts, write_monitoring
from pgpo_async.metrics.promql import Queries, used_names
from pgpo_async.metrics.registry import REGISTRY

COMMITTED = Path(__file__).parents[3] / "k8s" / "monitoring"
PAGES = {page.name: as_json(page) for page in DASHBOARDS}
EXPRESSIONS = list(expressions())
UNITS = {"s", "bytes", "percentunit", "short", "none", "dateTimeFromNow"}


def panels(page):
    return [panel for panel in page["panels"] if panel["type"] != "row"]


ALL_PANELS = [panel for page in PAGES.values() for panel in panels(page)]


def test_every_metric_is_in_a_panel_or_left_out_for_a_reason():
    shown = set().union(*(used_names(expression.expr, KNOWN) for expression in EXPRESSIONS))
    assert shown <= set(KNOWN), "a query reads what nobody has"
    assert set(REGISTRY) - shown == set(LEFT_OUT)
    assert set(foreign.FOREIGN) <= shown
    assert all(LEFT_OUT.values())


def test_counters_are_read_through_rates_only_and_gauges_never():
    for expression in EXPRESSIONS:
        bare = re.sub(r"(?:rate|increase)\(\w+\{?[^}\[]*\}?\[\w+\]\)", "", expression.expr)
        assert not {n for n in used_names(bare, KNOWN) if KNOWN[n].kind != "gauge"}, expression.expr
        inside = set(re.findall(r"(?:rate|increase)\((\w+)", expression.expr))
        assert not {n for n in inside if n in KNOWN and KNOWN[n].kind == "gauge"}, expression.expr


def test_buckets_are_added_up_by_their_bounds():
    for expression in EXPRESSIONS:
        if "_bucket" in expression.expr:
            assert re.search(r"sum by \((run, )?le\) \((rate|increase)\(\w+_bucket", expression.expr)


def test_every_query_of_ours_is_of_the_chosen_runs():
    for panel in ALL_PANELS:
        for target in panel["targets"]:
            series = re.findall(r"\b(?:pgpo_\w+|ALERTS)\b(?=[{\[)])(\{[^}]*\})?", target["expr"])
            assert all('run=~"$run"' in matchers for matchers in series), target["expr"]


def test_rates_look_back_over_grafanas_own_window():
    for panel in ALL_PANELS:
        for target in panel["targets"]:
            windows = set(re.findall(r"\[([^\]]+)\]", target["expr"]))
            assert windows <= {"$__rate_interval", "$__range"}, target["expr"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_every_query_parses(tmp_path):
    rules = [{"record": f"query:{number}", "expr": e.expr} for number, e in enumerate(EXPRESSIONS)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_expressions_hold_no_variable_and_say_when_they_may_be_empty():
    assert not [e.expr for e in EXPRESSIONS if "$" in e.expr]
    conditions = {e.panel: e.conditions for e in EXPRESSIONS}
    assert conditions["Reward"] == conditions["Queue by state"] == ()
    # Of all roles at once, one that is not there makes no difference.
    assert conditions["Silence"] == conditions["Busy share of each stage"] == ()
    assert conditions["GPU use"] == (resolved_condition(REGISTRY["pgpo_gpu_memory_bytes"]),)
    assert conditions["Requests in the engines"] == (foreign.ENGINE_CONDITION,)
    conditional = {name for name, metric in REGISTRY.items() if metric.condition}
    for expression in EXPRESSIONS:
        if expression.conditions and expression.dashboard != "all":
            assert used_names(expression.expr, KNOWN) & (conditional | set(foreign.FOREIGN))


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_panels_lie_beside_each_other_on_the_grid(page):
    taken = {}
    for panel in page["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["id"]) == panel["id"], panel["title"]
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])


def test_the_overview_fits_one_screen():
    assert max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in PAGES["overview"]["panels"]) <= 21


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_file_is_provisioned_as_it_is(page):
    assert "id" not in page
    assert "__inputs" not in page
    assert page["schemaVersion"] == 39
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"]: variable for variable in page["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["run"]["query"]["query"] == "label_values(pgpo_run_info, run)"
    assert variables["run"]["datasource"] == source
    for panel in panels(page):
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == source
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
        for target in panel["targets"]:
            assert target["datasource"] == source
            assert target["legendFormat"]
            assert target["instant"] != target["range"]
    ours = [a for a in page["annotations"]["list"] if not a.get("builtIn")]
    assert {annotation["name"] for annotation in ours} == {"Restarts", "Steps undone"}
    assert all(annotation["datasource"] == source for annotation in ours)
    assert page["links"][0]["tags"] == page["tags"]
    assert page["links"][0]["includeVars"]


def test_a_legend_tells_all_labels_that_its_query_keeps():
    for panel in ALL_PANELS:
        if panel["type"] == "timeseries":
            for target in panel["targets"]:
                outermost = re.match(r"(?:\S+ \* |time\(\) - )?\w+ by \(([^)]*)\)", target["expr"])
                kept = set(outermost.group(1).split(", ")) if outermost else set()
                told = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                assert kept <= told | {"le"}, target["expr"]


def test_descriptions_are_the_registrys_help():
    description = next(p for p in ALL_PANELS if p["title"] == "Visual dependency")["description"]
    assert description == f"In nats.\n\n`pgpo_dependency_nats`: {learning.DEPENDENCY.help}"
    with_condition = next(p for p in ALL_PANELS if p["title"] == "GPU use")["description"]
    assert "Not always there: an actor of that role has a GPU" in with_condition


def test_panels_draw_the_thresholds_of_the_alerts():
    drawn = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        for panel in panels(PAGES["health"]) + panels(PAGES["learning"]) + panels(PAGES["pipeline"])
    }
    assert drawn["Mismatch KL"][1] == {"color": "red", "value": limits.MISMATCH_KL}
    assert drawn["Entropy"] == [
        {"color": "red", "value": None},
        {"color": "green", "value": limits.ENTROPY_FLOOR},
    ]
    for title, limit in {
        "Learner wait": limits.STARVED_SHARE,
        "Groups without signal": limits.FILTERED_SHARE,
        "Importance weights cut off": limits.CAPPED_SHARE,
        "Silence": limits.SILENCE_S,
        "Quarantined prompts": limits.QUARANTINED_SHARE,
        "Since the last look": limits.UNSEEN_S,
        "Disk": limits.DISK_SHARE,
        "Ray's object store": limits.OBJECT_STORE_SHARE,
        "Shared memory": limits.SHARED_MEMORY_SHARE,
        "Open files": limits.OPEN_FILES_SHARE,
        "Queue bytes of their limit": limits.QUEUE_FULL_SHARE,
    }.items():
        assert drawn[title][1]["value"] == limit, title


def test_each_of_vllms_series_is_one_that_the_installed_vllm_declares():
    found = importlib.util.find_spec("vllm")
    if found is None:
        pytest.skip("vLLM is not installed")
    text = (Path(found.origin).parent / "v1" / "metrics" / "loggers.py").read_text()
    declared = {
        name: kind
        for kind, name in re.findall(r'self\._(gauge|counter|histogram)_cls\(\s*name="vllm:(\w+)"', text)
    }
    for series in foreign.FOREIGN.values():
        if series is not foreign.ALERTS:
            name = series.name.removeprefix("ray_vllm_")
            name = name.removesuffix("_total") if series.kind == "counter" else name
            assert declared.get(name) == series.kind, series.name


def test_a_query_refuses_what_a_metric_has_not():
    queries = Queries(window="5m")
    with pytest.raises(AssertionError, match="is a counter"):
        queries.now(health.RESTARTS)
    with pytest.raises(AssertionError, match="is a gauge"):
        queries.rate(learning.LOSS)
    with pytest.raises(AssertionError, match="is a histogram"):
        queries.rate(pipeline.LAG)
    with pytest.raises(AssertionError, match="no state 'lost'"):
        queries.now(pipeline.GROUPS, state="lost")
    with pytest.raises(KeyError):
        queries.now(pipeline.GROUPS, role="learner")
    asked = RUNS.now(pipeline.ACTORS, "role", how="sum", doing="working|waiting")
    assert asked == 'sum by (run, role) (pgpo_actors{run=~"$run", doing=~"working|waiting"})'


def test_the_committed_files_are_what_is_written_anew():
    texts = monitoring_texts()
    assert texts == monitoring_texts()
    there = {p.relative_to(COMMITTED).as_posix(): p.read_text("utf-8") for p in COMMITTED.rglob("*.*")}
    del there["kustomization.yaml"]  # `k8s tree` writes it
    assert set(there) == set(texts), "run pgpo-async monitoring k8s/monitoring"
    for name, text in texts.items():
        assert there[name] == text, f"{name}: run pgpo-async monitoring k8s/monitoring"
        assert len(text.encode()) < 1_000_000


def test_files_are_written_where_they_are_wanted_and_refused_where_they_cannot_be(tmp_path):
    written = write_monitoring(tmp_path / "new" / "folder", runbook="https://example.org/runbook.html")
    assert [path.name for path in written] == [*(f"{name}.json" for name in PAGES), "rules.yaml"]
    assert json.loads(written[0].read_text())["uid"] == "pgpo-overview"
    assert "runbook_url: https://example.org/runbook.html#pgponostep\n" in written[-1].read_text()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_monitoring(tmp_path / "file")


def test_the_command_lists_what_it_wrote_and_tells_of_bad_folders_in_a_line(tmp_path, capsys):
    monitoring(tmp_path / "there")
    assert capsys.readouterr().out.split() == [
        *(str(tmp_path / "there" / "dashboards" / f"{name}.json") for name in PAGES),
        str(tmp_path / "there" / "rules.yaml"),
    ]
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        monitoring(tmp_path / "file")
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
