import json
from unittest.mock import patch

import pytest

from pgpo_async.report import trace_window
from pgpo_async.report.gantt import gantt
from pgpo_async.report.trace_window import read_window

NAMES = {1: "driver", 2: "generator-0", 3: "scorer-0"}


def span(pid, start_s, duration_s, name="train", tid=0):
    return {"ph": "X", "name": name, "cat": NAMES[pid].split("-")[0], "pid": pid, "tid": tid,
            "ts": round(start_s * 1e6), "dur": round(duration_s * 1e6), "args": {"step": 1}}  # fmt: skip


def write(path, spans, *, end="\n]\n"):
    names = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
        for pid, name in NAMES.items()
    ]
    path.write_text("[\n" + ",\n".join(json.dumps(event) for event in [*names, *spans]) + end)
    return path


def long_trace(num):
    trains = [span(1, second, 0.9) for second in range(num)]
    return trains + [span(2, second + 0.5, 1.0, "generate", tid=second % 3) for second in range(num)]


@pytest.mark.parametrize("end", ["\n]\n", "", ',\n{"ph": "X", "na'])
def test_the_window_is_a_few_steps_of_the_middle_of_the_run(tmp_path, end):
    window = read_window(write(tmp_path / "t.json", sorted(long_trace(100), key=lambda s: s["ts"]), end=end))
    assert window.end_s - window.start_s == pytest.approx(4.0)
    assert window.start_s == pytest.approx(48, abs=1)
    assert {s.actor for s in window.spans} == {"driver", "generator-0"}
    assert window.spans[0].actor == "driver"
    assert all(s.start_s < window.end_s and s.start_s + s.duration_s > window.start_s for s in window.spans)


def test_of_a_large_trace_only_its_head_and_its_middle_are_read(tmp_path):
    path = write(tmp_path / "t.json", sorted(long_trace(2_000), key=lambda s: s["ts"]))
    with (
        patch.object(trace_window, "MAX_READ_BYTES", 40_000),
        patch.object(trace_window, "HEAD_BYTES", 4_000),
    ):
        window = read_window(path)
    assert window.start_s == pytest.approx(1_000, rel=0.1)
    assert {s.actor for s in window.spans} == {"driver", "generator-0"}


def test_a_window_of_too_many_spans_is_made_shorter(tmp_path):
    spans = [span(3, number / 1_000, 0.0005, "score") for number in range(20_000)]
    window = read_window(write(tmp_path / "t.json", spans))
    assert 100 < len(window.spans) <= trace_window.MAX_SPANS


@pytest.mark.parametrize("content", ["", "[", "null", '[{"ph": "X", "ts": "later", "dur": -1}]', "\x00\xff"])
def test_a_trace_without_spans_has_no_window(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    assert read_window(tmp_path / "t.json") is None
    assert read_window(tmp_path / "nowhere.json") is None


def test_actors_are_drawn_a_row_each_and_their_work_is_named(tmp_path, parsed):
    window = read_window(write(tmp_path / "t.json", long_trace(100)))
    drawing = gantt(window, began_s=0.0)
    assert "generator-0: generate, 1 s (step 1)" in drawing
    assert "4 s from the middle of the run (48" in parsed(drawing).words
