import ast
import json
import math
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.contracts import ConfigError
from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import learning_metrics as learning
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.board import OTHER, Board
from pgpo_async.metrics.busy_shares import BusyShares
from pgpo_async.metrics.exporter import Exporter
from pgpo_async.metrics.metric import MAX_OPEN_VALUES, Metric, gauge
from pgpo_async.metrics.registry import REGISTRY


def values(board):
    return {
        (name, *sorted(labels.items())): value
        for _, name, labels, value in board.samples()
        if labels["run"] == "r"
    }


def value(board, name, **labels):
    return values(board)[name, *sorted({"run": "r", **labels}.items())]


def test_a_series_appears_with_its_first_value_and_not_before():
    board = Board("r")
    assert values(board) == {}
    board.set(learning.LOSS, None)
    board.set(learning.LOSS, math.nan)
    assert values(board) == {}, "what is not measured is no 0"
    board.set(learning.LOSS, -0.5)
    assert values(board) == {("pgpo_loss", ("run", "r")): -0.5}


def test_nothing_is_set_but_what_the_registry_declares():
    board = Board("r")
    with pytest.raises(AssertionError, match="not in the registry"):
        board.set(gauge("pgpo_loss", "", "A twin."), 1.0)
    with pytest.raises(AssertionError, match="must be one of"):
        board.set(pipeline.GROUPS, 1, state="lost")
    with pytest.raises(AssertionError, match="is a counter"):
        board.set(pipeline.STEPS, 1)


def test_only_the_board_makes_metrics_and_only_the_mirror_copies_them_to_ray():
    makers = {"prometheus_client": {"board.py", "exporter.py"}, "ray.util.metrics": {"ray_mirror.py"}}
    for path in Path("pgpo_async").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for found in filter(None, [module, *names]):
                for library, allowed in makers.items():
                    if found.startswith(library):
                        assert path.name in allowed, f"{path} imports {library}"


def test_an_open_label_stops_growing():
    board = Board("r")
    for number in range(MAX_OPEN_VALUES + 20):
        board.reach(health.QUARANTINED, 1, reason=f"reason_{number}")
    reasons = {dict(key[1:])["reason"] for key in values(board)}
    assert len(reasons) == MAX_OPEN_VALUES + 1
    assert value(board, "pgpo_quarantined_total", reason=OTHER) == 20


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_a_counter_follows_a_total_and_never_falls_where_that_goes_back(totals):
    board = Board("r")
    done, before, shown = 0, 0, []
    for total in totals:
        board.reach(pipeline.MIXED, total)
        done, before = done + max(0, total - before), total
        shown.append(value(board, "pgpo_mixed_rollouts_total"))
        assert shown[-1] == done
    assert shown == sorted(shown)


def test_what_counts_may_begin_at_nothing_and_a_gauge_may_not():
    board = Board("r")
    board.begin(pipeline.STEPS)
    board.begin(pipeline.LAG)
    assert value(board, "pgpo_steps_total") == 0
    assert value(board, "pgpo_lag_steps_count") == 0
    with pytest.raises(AssertionError, match="is a gauge"):
        board.begin(learning.LOSS)


def test_a_histogram_counts_into_its_buckets():
    board = Board("r")
    for lag in (0, 1, 1, 2, 40):
        board.observe(pipeline.LAG, lag)
    assert value(board, "pgpo_lag_steps_bucket", le="1.0") == 3
    assert value(board, "pgpo_lag_steps_bucket", le="+Inf") == 5
    assert value(board, "pgpo_lag_steps_sum") == 44


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "steps_total", "kind": "counter"},
        {"name": "pgpo_steps", "kind": "counter"},
        {"name": "pgpo_wait_total", "kind": "gauge"},
        {"name": "pgpo_wait", "kind": "gauge", "unit": "seconds"},
        {"name": "pgpo_wait_hours", "kind": "gauge", "unit": "hours"},
        {"name": "pgpo_lag", "kind": "histogram"},
    ],
)
def test_a_metric_whose_name_does_not_say_what_it_is_cannot_be_declared(wrong):
    with pytest.raises(AssertionError):
        Metric(**{"unit": "", "help": "?", **wrong})


def test_every_metric_has_a_help_that_is_a_sentence_and_labels_that_cannot_grow():
    for metric in REGISTRY.values():
        assert metric.help[0].isupper() or metric.help[0] in "1/", metric.name
        assert metric.help.endswith("."), metric.name
        assert "run" not in metric.labels, f"{metric.name}: the board adds it"


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_the_exporter_answers_metrics_and_health_and_gives_its_port_back():
    board, problem = Board("r"), []
    board.set(learning.LOSS, 0.25)
    exporter = Exporter(board, host="127.0.0.1", port=0, health=lambda: problem[0] if problem else None)
    base = exporter.url.removesuffix("/metrics")
    assert 'pgpo_loss{run="r"} 0.25' in fetch(exporter.url)
    assert "_created" not in fetch(exporter.url)
    assert fetch(f"{base}/healthz") == "ok\n"
    problem.append("no look since 99 s")
    with pytest.raises(urllib.error.HTTPError) as unwell:
        fetch(f"{base}/healthz")
    assert (unwell.value.code, unwell.value.read()) == (503, b"no look since 99 s\n")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{base}/etc/passwd")
    port = int(base.rpartition(":")[2])
    exporter.close()
    again = Exporter(board, host="127.0.0.1", port=port)
    again.close()


def test_a_port_that_is_taken_is_told_with_its_field():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"metrics\.port: cannot listen on 127\.0\.0\.1:\d+"):
            Exporter(Board("r"), host="127.0.0.1", port=taken.getsockname()[1])


def test_a_client_that_says_nothing_holds_up_no_other():
    board = Board("r")
    board.set(learning.LOSS, 1)
    exporter = Exporter(board, host="127.0.0.1", port=0)
    host, port = exporter.url.split("/")[2].split(":")
    with socket.create_connection((host, int(port))):
        assert "pgpo_loss" in fetch(exporter.url)
    exporter.close()


def test_many_threads_may_set_and_count_at_once():
    board = Board("r")

    def work():
        for _ in range(500):
            board.add(pipeline.STEPS, 1)
            board.set(learning.LOSS, 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(board, "pgpo_steps_total") == 2000


def test_busy_shares_are_means_over_actors_and_survive_one_that_is_replaced():
    now = [0.0]
    shares = BusyShares(clock=lambda: now[0])
    shares.add("generate", {"generator-0": 0.0, "generator-1": 0.0})
    shares.mark()
    assert shares.shares() == {}
    now[0] = 10.0
    shares.add("generate", {"generator-0": 10.0, "generator-1": 5.0})
    shares.mark()
    assert shares.shares() == {"generate": 0.75}
    now[0] = 20.0
    # generator-1 died: another of its name begins to count again.
    shares.add("generate", {"generator-0": 20.0, "generator-1": 2.0})
    shares.mark()
    assert shares.shares()["generate"] == pytest.approx((7.5 + 6.0) / 20)
    assert shares.totals_s["generate"] == pytest.approx(13.5)


def test_a_step_is_told_the_share_since_the_step_before_it():
    now = [0.0]
    shares = BusyShares(clock=lambda: now[0])

    def look(at_s, busy_s):
        now[0] = at_s
        shares.add("score", {"scorer-0": busy_s})
        shares.mark()

    look(0.0, 0.0)
    assert shares.since_last() == {}
    look(2.0, 1.0)
    look(4.0, 2.0)
    assert shares.since_last() == {"score": 0.5}
    assert shares.since_last() == {"score": 0.5}, "no look since: the same again"
    look(6.0, 4.0)
    assert shares.since_last() == {"score": 1.0}


def test_old_looks_leave_the_window():
    now = [0.0]
    shares = BusyShares(clock=lambda: now[0])
    for second in range(0, 121, 2):
        now[0] = float(second)
        shares.add("learn", {"learner": float(min(second, 60))})
        shares.mark()
    assert shares.shares()["learn"] == 0.0, "idle since a minute"
    assert json.dumps(shares.totals_s) == '{"learn": 60.0}'
