"""Whole runs, minute by minute, against all alerts at once: a healthy one raises none, at no time."""

import pytest
from support.promtool import failures, input_series, needs_promtool

LIMITS = {"disk_bytes": 0.4, "object_store_bytes": 0.5, "shared_memory_bytes": 0.3, "open_files": 0.1}


def a_run(*, start, step_minutes, num_steps, evaluation, save_every, ends=None):
    """Series of a healthy run: minutes before the first step begins, of a step, of the last evaluation.

    It is there until its end, or until minute `ends`. One generator is lost on the way and comes back.
    """
    trained_by = start + step_minutes * num_steps
    gone = ends if ends is not None else int(trained_by + evaluation)
    lost = start + step_minutes * num_steps / 2
    rows = {}

    def put(name, minute, value):
        rows.setdefault(name, ["_"] * gone)[minute] = f"{value:g}"

    for minute in range(gone):
        done = max(0, min(num_steps, int((minute - start) / step_minutes + 1e-9)))
        drawn = min(50 * num_steps, max(0, (minute - start) / step_minutes + 2) * 50)
        always = {
            "pgpo_run_info": 1,
            "pgpo_wanted_steps": num_steps,
            "pgpo_limit_lag_steps": 2,
            "pgpo_steps_total": done,
            "pgpo_learner_wait_seconds_total": done * 60 * step_minutes * 0.2,
            "pgpo_skipped_steps_total": 0,
            "pgpo_rolled_back_steps_total": 0,
            "pgpo_write_failures_total": 0,
            "pgpo_cancelled_groups_total": 0,
            "pgpo_observed_timestamp_seconds": 60 * minute,
            'pgpo_prompts_total{end="drawn"}': drawn,
            'pgpo_prompts_total{end="trained"}': 32 * done,
            'pgpo_prompts_total{end="filtered"}': drawn * 0.3,
            'pgpo_prompts_total{end="stale"}': done,
            'pgpo_prompts_total{end="quarantined"}': drawn * 0.01,
            'pgpo_queue_groups{state="reserved"}': 40,
            'pgpo_queue_groups{state="scored"}': 20 if minute > start else 0,
            'pgpo_queue_groups{state="training"}': 32 if start < minute < trained_by else 0,
            'pgpo_queue_bytes{kind="held"}': 30,
            'pgpo_queue_bytes{kind="limit"}': 100,
        }
        up = 0 if minute < start / 2 else 1 if lost <= minute < lost + 8 else 2
        for role in ("generator", "scorer", "learner"):
            working = up if role == "generator" else 0 if minute < start / 2 else 2
            always[f'pgpo_wanted_actors{{role="{role}"}}'] = 2
            always[f'pgpo_actors{{role="{role}",doing="working"}}'] = working
            always[f'pgpo_actors{{role="{role}",doing="starting"}}'] = 2 - working
            always[f'pgpo_silence_seconds{{role="{role}"}}'] = 30 * (minute % 7 == 0)
            always[f'pgpo_restarts_total{{role="{role}"}}'] = int(role == "generator" and minute >= lost)
        for name, share in LIMITS.items():
            always[f'pgpo_{name}{{kind="used"}}'] = 100 * share + (minute % 30) / 3
            always[f'pgpo_{name}{{kind="limit"}}'] = 100
        for name, value in always.items():
            put(name, minute, value)
        for name, value in (
            _of_steps(start, step_minutes, num_steps, done, save_every) if done else {}
        ).items():
            put(name, minute, value)
    return {name: " ".join([*values, "stale"]) for name, values in rows.items()}


def _of_steps(start, step_minutes, num_steps, done, save_every):
    progress = done / num_steps
    found = {
        "pgpo_step": done,
        "pgpo_last_step_timestamp_seconds": 60 * (start + done * step_minutes),
        "pgpo_step_seconds_sum": 60 * done * step_minutes,
        "pgpo_step_seconds_count": done,
        "pgpo_lag_steps_sum": 32 * done * 1.4,
        "pgpo_lag_steps_count": 32 * done,
        "pgpo_filtered_ratio": 0.3,
        "pgpo_entropy_nats": 0.8 - 0.5 * progress + 0.05 * (done % 2),
        "pgpo_accuracy_ratio": 0.4 + 0.4 * progress,
        'pgpo_reward{part="reward"}': 0.4 + 0.4 * progress - 0.04 * (done % 2),
        "pgpo_fresh_mismatch_kl_nats": 0.001,
        "pgpo_importance_capped_ratio": 0.01,
    }
    saved = done // save_every * save_every
    return found | ({"pgpo_checkpoint_step": saved} if saved else {})


def nothing(minute):
    return []


def asked(series, until, expected=nothing):
    """Ask for the alerts that fire, every five minutes; `expected` are their names then."""
    return {
        "interval": "1m",
        "input_series": input_series(series),
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": [
                    {"labels": f'{{alertname="{name}"}}', "value": 1} for name in expected(minute)
                ],
            }
            for minute in range(5, until, 5)
        ],
    }


@needs_promtool
@pytest.mark.parametrize(
    "run",
    [
        {"start": 4, "step_minutes": 1 / 6, "num_steps": 400, "evaluation": 2, "save_every": 50},
        {"start": 60, "step_minutes": 1, "num_steps": 150, "evaluation": 20, "save_every": 50},
        {"start": 40, "step_minutes": 30, "num_steps": 20, "evaluation": 20, "save_every": 5},
        {"start": 110, "step_minutes": 5, "num_steps": 30, "evaluation": 20, "save_every": 1000},
    ],
    ids=["steps of 10 s", "20 minutes of evaluation", "steps of 30 minutes", "a start of nearly two hours"],
)
def test_a_healthy_run_raises_no_alarm_from_its_start_until_long_after_its_end(run, tmp_path):
    ended = run["start"] + run["step_minutes"] * run["num_steps"] + run["evaluation"]
    assert not failures(tmp_path, [asked(a_run(**run), int(ended) + 130)])


@needs_promtool
def test_a_run_that_is_killed_halfway_is_told_for_an_hour_and_nothing_else_is(tmp_path):
    series = a_run(start=20, step_minutes=1, num_steps=200, evaluation=0, save_every=50, ends=100)

    def expected(minute):
        return ["PgpoVanished"] if 105 <= minute < 160 else []

    assert not failures(tmp_path, [asked(series, 240, expected)])
