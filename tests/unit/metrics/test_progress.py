"""One plain line a step where there is no terminal, a live table where there is one."""

import io

from rich.console import Console

from pgpo_async.metrics.progress import Progress
from pgpo_async.metrics.step_record import StepRecord


def record(step):
    return StepRecord(
        step=step,
        reward=0.51,
        accuracy=0.45,
        lag_mean=1.25,
        lag_max=2,
        step_s=2.0,
        learner_wait_s=0.5,
        learner={"loss": -0.01, "grad_norm": 0.7, "dependency_mean": 0.06, "boosted_share": 0.18},
    )


def test_without_a_terminal_a_step_is_one_line_with_every_figure():
    out = io.StringIO()
    with Progress(30, Console(file=out, width=80)) as progress:
        progress.step(record(7))
    (line,) = out.getvalue().splitlines()
    for figure in (
        "7/30",
        "0.510",
        "0.450",
        "-0.0100",
        "0.700",
        "0.060",
        "18.0%",
        "1.2 (max 2)",
        "2.00 s",
        "25%",
    ):
        assert figure in line


def test_on_a_terminal_the_steps_are_a_table_and_the_screen_is_given_back():
    out = io.StringIO()
    with Progress(30, Console(file=out, width=140, force_terminal=True)) as progress:
        progress.step(record(1))
        progress.step(record(2))
        progress.waiting("a batch")
    text = out.getvalue()
    assert "2/30" in text
    assert "a batch" in text
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor is back"


def test_the_json_of_a_step_is_flat():
    flat = record(3).as_json()
    assert flat["learner/loss"] == -0.01
    assert flat["step"] == 3
    assert not any(isinstance(value, dict) for value in flat.values())
