"""What `bench chaos` asks of a run's folder, and that each thing that may go wrong is seen."""

import json

import pytest

from pgpo_async.actors.journal import Journal, Record
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.bench.chaos_verdict import verdict
from pgpo_async.contracts import Accounting

GROUPS = {1: ["g00000000", "g00000002"], 2: ["g00000001", "g00000005"]}
ENDED = {"filtered": 1, "stale": 1}  # 3 and 4; 6 is pending


def write_run(
    folder, *, groups=GROUPS, lag=2, pending=(6,), cursor=7, status="completed", trained=4, left=()
):
    """A run of two steps that ended as it should, but for what is given."""
    records = [{"step": step, "lag_max": lag, "groups": names} for step, names in groups.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    books = Accounting(drawn=trained + 2 + len(pending), trained=trained, pending=len(pending), **ENDED)
    summary = {
        "status": status,
        "accounting": books.as_dict(),
        "accounting_balanced": books.balanced,
        "max_lag_allowed": 2,
        "left_behind": list(left),
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    state = QueueState(cursor=cursor, pending=tuple(pending), accounting=books)
    with Journal(folder / "journal", sync_s=0.0) as journal:
        journal.append(
            Record(kind="mark", meta={"name": "step-00000002", "state": state.as_json(), "version": 2})
        )


def test_a_run_as_it_should_be_has_no_problems(tmp_path):
    write_run(tmp_path)
    found = verdict(tmp_path, 2)
    assert found["problems"] == []
    assert found["accounted"]
    assert (found["max_lag_seen"], found["repeated_groups"], found["rolled_back_steps"]) == (2, 0, 0)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"status": "failed"}, "the run is completed"),
        ({"groups": {1: GROUPS[1], 3: GROUPS[2]}}, "each step is there once"),
        ({"groups": {1: GROUPS[1], 2: GROUPS[1]}}, "no group trained twice"),
        ({"trained": 5}, "what trained is what the queue counted"),
        ({"pending": (5,)}, "no pending prompt has trained"),
        ({"cursor": 8}, "each prompt is accounted for once"),
        ({"lag": 3}, "the lag is kept"),
        ({"left": ["a process"]}, "nothing is left behind"),
    ],
)
def test_each_fault_is_seen_by_its_name(tmp_path, fault, problem):
    write_run(tmp_path, **fault)
    found = verdict(tmp_path, 2)
    assert problem in found["problems"]
    assert found["accounted"] == (problem == "the lag is kept")
