"""The built page, read as a browser reads it."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgpo_async.report.panels import GROUPS
from pgpo_async.report.report_page import report_page
from pgpo_async.report.run_data import RunData, read_run_data
from pgpo_async.report.run_events import Event, Kind
from pgpo_async.report.samples import Samples, read_samples
from pgpo_async.report.stage_times import QUEUE_STATES
from pgpo_async.report.step_table import StepTable
from pgpo_async.report.trace_window import read_window

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)><!--"


def page_of(folder):
    return report_page(read_run_data(folder), read_samples(folder), read_window(folder / "timeline.json"))


def chart(page, name):
    return next(chart for chart in page.data()["charts"] if chart["id"] == name)


def test_the_page_holds_the_runs_numbers(new_run, parsed):
    page = parsed(page_of(new_run().whole().path))
    for told in (
        "written-1 ✓ completed",
        "Nothing wrong was found",
        "held-out accuracy 25.0 % → 87.5 %",
        "steps 12 of 12",
        "overlap efficiency 0.9123",
        "learner waits 25.0 % of training",
        "largest lag 2 of 2 allowed",
        "prompts trained 48 62.3 % of 77",
        "restarts 0",
        "✓ drawn 77 = trained 48 + filtered 16 + stale 0 + quarantined 0 + pending 13",
        "9 s note ready after 9 s",
        "model builtin:tiny-vlm · method pgpo",
        "num_steps: 12",
    ):
        assert told in page.words
    assert page.data()["axes"]["steps"]["first"] == list(range(1, 13))
    assert chart(page, "loss")["series"] == [
        {"form": "number", "class": 1, "mean": pytest.approx([-0.02 * step for step in range(1, 13)])}
    ]
    assert chart(page, "tokens")["series"][0]["mean"] == [400.0] * 12
    assert chart(page, "lag-map")["series"][0] == {
        "form": "number", "class": 1, "mean": [1.25] * 12, "low": [0.0] * 12, "high": [2.0] * 12,
    }  # fmt: skip
    assert chart(page, "mismatch")["log"] is True
    assert page.data()["axes"]["time"]["last"][0] == 12.0


def test_every_chart_of_the_data_is_on_the_page_with_words_for_it(new_run, parsed):
    page = parsed(page_of(new_run().whole().path))
    assert {chart["id"] for chart in page.data()["charts"]} <= page.ids()
    drawings = [attributes for tag, attributes in page.elements if tag == "svg" and "role" in attributes]
    assert len(drawings) >= 15
    assert all(attributes["aria-label"] for attributes in drawings)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_problems_come_first_and_the_grave_before_the_others(new_run, parsed):
    run = new_run().config().events(
        "12: scorer-0 failed: killed; starting scorer-0.1 (restart 1 of at most 3)",
        "14: resumed: goes on after step 3",
        "20: warning: step 5 updated nothing: its loss or gradient was not finite",
    )  # fmt: skip
    run.steps(
        6, **{"learner/fresh_mismatch_kl": 0.5, "learner/skipped_step": 1.0, "learner/truncated_share": 0.5}
    )
    run.summary(
        status="failed", left_behind=["process 4711"], restarts=1, max_lag_seen=3, accuracy_after=0.1,
        accounting={"drawn": 80, "trained": 48, "quarantined": 2}, skipped_steps=6,
    )  # fmt: skip
    run.lines("rolled_back.jsonl", [{"step": 4}, {"step": 5}])
    (run.path / "config-1.yaml").write_text("")
    page = parsed(page_of(run.path))
    grave = [
        "The run failed after 6 steps of 12",
        "The books do not balance: 80 prompts were drawn, 50 are accounted for",
        "Left behind on the machine: process 4711",
        "A group was trained at lag 3, above the bound of 2",
        "6 steps updated nothing",
        "above train.guard.max_mismatch_kl: up to 0.5, allowed 0.1",
    ]
    others = [
        "2 prompts could not be used (2.5 % of those drawn)",
        "2 steps were undone and done again",
        "50.0 % of the last steps' responses were cut",
        "Held-out accuracy fell, from 25.0 % to 10.0 %",
        "1 event of deaths or failures, 1 actor started again",
        "resumed 1 time",
    ]
    places = [page.words.index(told) for told in [*grave, *others, "held-out accuracy 25.0 %"]]
    assert places == sorted(places)
    assert "Nothing wrong" not in page.words
    marks = [attributes.get("class") for tag, attributes in page.elements if tag == "g"]
    assert {"mark death", "mark resume", "mark rollback", "mark skipped"} <= set(marks)


def test_hostile_texts_stay_texts_wherever_they_come_from(new_run, make_group, parsed):
    run = new_run(HOSTILE.replace("/", "|")[:200])
    run.config().steps(3, **{f"queue/{HOSTILE}": 0.5}).events(
        f"5: {HOSTILE}", f"6: warning: {HOSTILE}", "7: \ud800\x00"
    )
    run.summary(
        left_behind=[HOSTILE], status="failed", error=HOSTILE, quarantined_by_reason={HOSTILE: 4},
        versions={HOSTILE: HOSTILE}, accounting={"drawn": 9, HOSTILE: 9},
    )  # fmt: skip
    (run.path / "config.yaml").write_text(f"name: x\n# {HOSTILE}\nmodel: {{path: {json.dumps(HOSTILE)}}}\n")
    run.sample(
        1,
        make_group(HOSTILE, question=HOSTILE, answer=HOSTILE, texts=[HOSTILE * 20, "\x00"], images=(b"no",)),
    )
    spans = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": HOSTILE}},
        {"ph": "X", "name": HOSTILE, "pid": 1, "tid": 0, "ts": 1e12, "dur": 2e6, "args": {HOSTILE: HOSTILE}},
    ]
    (run.path / "timeline.json").write_text("[\n" + ",\n".join(map(json.dumps, spans)))
    page = parsed(page_of(run.path))
    assert len(page.scripts) == 2
    assert "alert" not in page.scripts[1]
    for tag, attributes in page.elements:
        assert tag != "img"
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert page.words.count("<img src=x onerror=alert(2)>") > 20
    assert page.data()["charts"]


def test_samples_show_images_rewards_and_a_verdict_in_words(new_run, make_group, picture, parsed):
    run = new_run().whole()
    run.sample(1, make_group("g7", question="what is it?", images=(picture(900, 300),)))
    run.sample(12, make_group("g8", texts=["\\boxed{4}"] * 3, rewards=[0.1] * 3, images=(b"junk",)))
    page = parsed(page_of(run.path))
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 1
    assert images[0]["src"].startswith("data:image/png;base64,")
    assert "best g7 step 1, mean reward 0.55, 1 of 2 right, lag 0 Question what is it?" in page.words
    assert "✓ right reward 1 · accuracy 1, format 1 · 3 tokens \\boxed{3}" in page.words
    assert "✗ wrong 3 times reward 0.1" in page.words
    assert "image 1 cannot be decoded (4 bytes)" in page.words


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda run: run.config(), "metrics.jsonl is not there: the run has finished no step"),
        (lambda run: run.steps(3), "config.yaml could not be read: model, method and bounds are not known"),
        (lambda run: run.config().lines("metrics.jsonl", []), "metrics.jsonl holds no step"),
        (lambda run: run.config().steps(1, torn="{"), "metrics.jsonl: 1 line could not be read"),
        (lambda run: run.config().lines("events.jsonl", [], torn="]["), "events.jsonl: 1 line could not"),
        (lambda run: run.summary(), "steps 0"),
        (lambda run: run.summary(accounting=[], busy_s=3, lag_histogram="x", left_behind=7), "steps 0"),
        (lambda run: run.config().steps(3, time_s=None), "No step has a time yet."),
        (lambda run: run.config().steps(3, step_s=None, **{"learner/loss": None}), "Loss"),
        (lambda run: run.config().steps(3).lines("rolled_back.jsonl", [{}]), "rolled_back.jsonl: 1 line"),
        (lambda run: run.config().lines("metrics.jsonl", [{"step": 3}]), "Not measured in this run: Reward"),
        (lambda run: run.config().lines("metrics.jsonl", [{"step": 7, "reward": 1}]), "step 7"),
        (lambda run: run.config("a: [").steps(2), "config.yaml could not be understood"),
    ],
)  # fmt: skip
def test_a_partial_folder_gives_a_page_that_says_what_is_missing(new_run, parsed, write, told):
    run = new_run()
    try:
        write(run)
    except ValueError:  # a config that is none
        (run.path / "config.yaml").write_text("a: [")
        run.steps(2)
    assert told in parsed(page_of(run.path)).words


def test_a_run_under_way_that_is_late_says_so_and_who_is_stuck(new_run, parsed):
    run = new_run().config().steps(3)
    stuck = [{"name": "scorer-0", "doing": "its own passes", "silent_for_s": 42.0}]
    (run.path / "status.json").write_text(json.dumps({"stuck": stuck}))
    data = read_run_data(run.path)
    late = dataclasses.replace(data, status="under way")
    page = parsed(report_page(late, Samples(), None))
    assert "▶ under way" in page.words
    assert "its last step ended" in page.words
    assert "scorer-0 gave no sign of life for 42 s; it was at: its own passes" in page.words


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.dictionaries(st.integers(0, 30), VALUES, max_size=8), max_size=6),
    summary=st.dictionaries(st.integers(0, 20), VALUES, max_size=8),
)
def test_no_value_of_any_file_keeps_the_page_from_being_made(new_run, parsed, lines, summary):
    run = new_run().whole()
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    told = json.loads((run.path / "summary.json").read_text())
    for row, changes in zip(rows, lines, strict=False):
        row |= {list(row)[number % len(row)]: value for number, value in changes.items()}
    told |= {list(told)[number % len(told)]: value for number, value in summary.items()}
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run.path / "summary.json").write_text(json.dumps(told))
    page = parsed(page_of(run.path))
    assert "Config and versions" in page.words
    assert page.data()["axes"]


def long_run(num_steps):
    steps = np.arange(1, num_steps + 1)
    random = np.random.default_rng(0)
    names = [line.key for group in GROUPS for panel in group.panels for line in panel.lines]
    names += [f"queue/part-{letter}" for letter in "abcdefgh"]
    names += [f"pipeline/{name}" for name in ("busy_generate", "busy_score", "queue_bytes")]
    names += [f"pipeline/queue_{state}" for state in QUEUE_STATES]
    names += ["learner/num_tokens"]
    columns = {name: random.random(num_steps) for name in names}
    columns["learner/loss"][num_steps // 3] = 77.0
    columns["time_s"] = 1e9 + steps * 2.0
    return StepTable(
        steps=steps,
        columns=columns,
        lags=list(random.integers(0, 3, (num_steps, 8))),
        rewards=list(random.random((num_steps, 8))),
    )


def test_the_page_of_a_hundred_thousand_steps_is_small_and_keeps_a_spike(tmp_path, parsed):
    table = long_run(100_000)
    events = [
        Event(time_s=1e9 + 40 * number, text=f"warning: {number} " + "x" * 200, kind=Kind.WARNING)
        for number in range(5_000)
    ]
    run = RunData(folder=tmp_path, status="completed", steps=table, read_s=0.0, events=events, began_s=1e9)
    page = report_page(run, Samples(), None)
    assert len(page.encode()) < 5_000_000
    loss = chart(parsed(page), "loss")["series"][0]
    assert max(loss["high"]) == 77.0
    assert len(loss["mean"]) <= 400
