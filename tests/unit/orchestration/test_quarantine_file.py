"""`quarantine.parquet`: whole whenever it is read; a kill at any moment loses and doubles nothing."""

import datetime
import itertools
import os

import pyarrow.parquet as pq
import pytest

from pgpo_async.actors.queue_types import Quarantined
from pgpo_async.config import load_config
from pgpo_async.contracts import Prompt
from pgpo_async.orchestration import quarantine_file
from pgpo_async.orchestration.quarantine_file import QuarantineFile, read_quarantine
from pgpo_async.orchestration.quarantined_inputs import QuarantinedInputs

IMAGE = bytes(range(256)) * 4


def record(index, **changes):
    prompt = Prompt(prompt_id=f"p{index}", question="how ?", answer="so", images=(IMAGE,), index=index)
    values = {
        "group_id": f"g{index:08d}",
        "index": index,
        "prompt_id": f"p{index}",
        "reason": "corrupt_image",
        "error": "not an image",
        "stage": "read",
        "prompt": prompt,
    }
    return Quarantined(**values | changes)


def indices(folder):
    return read_quarantine(folder)["index"].to_pylist()


def test_a_record_says_what_where_when_and_why_and_holds_its_input(tmp_path):
    file = QuarantineFile(tmp_path)
    file.add([record(3, time_s=1_700_000_000.25)])
    (row,) = pq.read_table(tmp_path / "quarantine.parquet").to_pylist()
    assert row == {
        "group_id": "g00000003",
        "index": 3,
        "prompt_id": "p3",
        "stage": "read",
        "reason": "corrupt_image",
        "error": "not an image",
        "time": datetime.datetime(2023, 11, 14, 22, 13, 20, 250_000, tzinfo=datetime.UTC),
        "question": "how ?",
        "answer": "so",
        "images": [IMAGE],
        "images_left_out": False,
    }


def test_records_can_be_read_while_the_run_goes_on_and_are_one_file_at_its_end(tmp_path):
    file = QuarantineFile(tmp_path)
    for index in range(5):
        file.add([record(index)])
        assert indices(tmp_path) == list(range(index + 1))
    assert pq.read_table(tmp_path / "quarantine.parquet")["index"].to_pylist() == [0], "merged now and then"
    file.close()
    assert [path.name for path in tmp_path.iterdir()] == ["quarantine.parquet"]
    assert pq.read_table(tmp_path / "quarantine.parquet")["index"].to_pylist() == list(range(5))


def test_a_run_without_quarantine_leaves_no_file(tmp_path):
    file = QuarantineFile(tmp_path)
    file.add([])
    file.close()
    assert not list(tmp_path.iterdir())
    assert read_quarantine(tmp_path).num_rows == 0


class Killed(BaseException):
    pass


@pytest.mark.parametrize("survived", range(12))
def test_wherever_the_process_is_killed_nothing_is_lost_or_there_twice(tmp_path, monkeypatch, survived):
    """Killed after each of its changes to the disk; the next process goes on in the same folder."""
    monkeypatch.setattr(quarantine_file, "MERGE_EVERY_S", 0.0)
    monkeypatch.setattr(quarantine_file, "_MERGE_SHARE", 0.0)
    changes = itertools.count()
    real = {name: getattr(os, name) for name in ("replace", "unlink")}

    def dying(name):
        def change(*args, **options):
            if next(changes) >= survived:
                raise Killed
            return real[name](*args, **options)

        return change

    written = 0
    with monkeypatch.context() as patched:
        for name in real:
            patched.setattr(os, name, dying(name))
        file = QuarantineFile(tmp_path)
        try:
            for index in range(4):
                file.add([record(index)])
                written = index + 1
        except Killed:
            pass
    found = indices(tmp_path)
    assert found == list(range(len(found)))
    assert len(found) >= written
    again = QuarantineFile(tmp_path)
    again.add([record(100)])
    again.close()
    assert pq.read_table(tmp_path / "quarantine.parquet")["index"].to_pylist() == [*found, 100]
    assert [path.name for path in tmp_path.iterdir()] == ["quarantine.parquet"]


def test_images_and_records_are_bounded_over_runs_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine_file, "MAX_IMAGE_BYTES", 2 * len(IMAGE))
    monkeypatch.setattr(quarantine_file, "MAX_RECORDS", 4)
    first = QuarantineFile(tmp_path)
    first.add([record(0)])
    second = QuarantineFile(tmp_path)
    second.add([record(index) for index in range(1, 4)])
    second.close()
    third = QuarantineFile(tmp_path)
    third.add([record(4), record(5)])
    third.close()
    rows = read_quarantine(tmp_path).to_pylist()
    assert [len(row["images"]) for row in rows] == [1, 1, 0, 0]
    assert [row["images_left_out"] for row in rows] == [False, False, True, True]
    assert third.num_not_kept == 2


def test_text_that_is_no_unicode_is_written_out(tmp_path):
    file = QuarantineFile(tmp_path)
    prompt = Prompt(prompt_id="p", question="\ud800", answer="a" * 200_000)
    file.add([record(0, prompt=prompt, error="\udfff"), record(1, prompt=None)])
    first, second = read_quarantine(tmp_path).to_pylist()
    assert (first["question"], first["error"], len(first["answer"])) == ("\\ud800", "\\udfff", 100_000)
    assert (second["question"], second["images"]) == (None, [])


def test_a_damaged_file_is_set_aside(tmp_path):
    (tmp_path / "quarantine.parquet").write_bytes(b"PAR1 no more")
    file = QuarantineFile(tmp_path)
    file.add([record(0)])
    file.close()
    assert indices(tmp_path) == [0]
    assert (tmp_path / "quarantine.parquet.damaged").read_bytes() == b"PAR1 no more"


def test_images_that_no_record_holds_are_read_again_by_their_index(tmp_path):
    config = load_config("configs/local.yaml", [f"output_dir={tmp_path}"])
    bare = Prompt(prompt_id="x", question="q", answer="a", index=7)
    here, elsewhere = record(6), record(7, prompt=bare, images_elsewhere=True)
    assert QuarantinedInputs(config).whole([here])[0] is here
    (whole,) = QuarantinedInputs(config).whole([elsewhere])
    assert (len(whole.prompt.images), whole.prompt.index, whole.images_elsewhere) == (1, 7, False)
    gone = load_config("configs/local.yaml", ["data.source=gone.parquet"])
    assert QuarantinedInputs(gone).whole([elsewhere]) == [elsewhere]
