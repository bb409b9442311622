"""Spans of several actors become one file in the Trace Event format."""

import json
import threading
import time
from pathlib import Path

from pgpo_async.metrics.spans import MAX_SPANS, Spans
from pgpo_async.metrics.timeline import TimelineWriter


def test_spans_that_overlap_lie_in_different_lanes_and_lanes_are_used_again() -> None:
    spans = Spans(enabled=True)
    with spans.span("outer"), spans.span("inner", group="g1"):
        pass
    with spans.span("later"):
        pass
    inner, outer, later = spans.take()
    assert (inner.name, inner.lane, inner.details) == ("inner", 1, {"group": "g1"})
    assert (outer.name, outer.lane) == ("outer", 0)
    assert later.lane == 0
    assert spans.take() == []


def test_a_span_lasts_as_long_as_its_work_even_if_it_fails() -> None:
    spans = Spans(enabled=True)
    before = time.time()
    try:
        with spans.span("fails"):
            time.sleep(0.02)
            raise KeyError
    except KeyError:
        pass
    (span,) = spans.take()
    assert 0.02 <= span.duration_s < 2
    assert before <= span.start_s <= time.time()


def test_threads_may_record_at_once_and_nothing_is_kept_where_tracing_is_off() -> None:
    spans, off = Spans(enabled=True), Spans(enabled=False)

    def work() -> None:
        for _ in range(200):
            with spans.span("work"), off.span("work"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spans.take()) == 800 < MAX_SPANS
    assert off.take() == []


def test_the_file_holds_a_row_for_each_actor_and_is_readable_before_its_end(tmp_path: Path) -> None:
    spans = Spans(enabled=True)
    with spans.span("generate", group="g1"), spans.span("update pause", version=3):
        pass
    path = tmp_path / "timeline.json"
    timeline = TimelineWriter(path)
    timeline.add("generator-0", spans.take())
    assert json.loads(path.read_text() + "]"), "what a killed run leaves can be opened"
    with spans.span("score"):
        pass
    timeline.add("scorer-0", spans.take())
    timeline.close()
    timeline.close()
    events = json.loads(path.read_text())
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    work = [e for e in events if e["ph"] == "X"]
    assert {(names[e["pid"]], e["name"], e["tid"]) for e in work} == {
        ("generator-0", "generate", 0),
        ("generator-0", "update pause", 1),
        ("scorer-0", "score", 0),
    }
    assert all(e["ts"] > 1e15 and e["dur"] >= 0 for e in work), "microseconds since the epoch"
    assert {e["cat"] for e in work} == {"generator", "scorer"}
