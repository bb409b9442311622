"""Journals that were cut, damaged or killed: what was torn at the end is cut, all else is refused by name."""

import multiprocessing as mp
import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest
from support.journals import NEVER, SMALL, contents, make, read_all

from pgpo_async.actors import journal_records
from pgpo_async.actors.journal import Journal, Record
from pgpo_async.contracts import JournalError

SPAWN = mp.get_context("spawn")
FIRST = "segment-00000001.arrow"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def quick(monkeypatch):
    """Opening thousands of journals waits for no disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def three(folder):
    """A journal of three records: its file, the file's bytes, the records' places."""
    with Journal(folder, sync_s=NEVER) as journal:
        places = [journal.append(make(i)) for i in range(3)]
    return folder / FIRST, (folder / FIRST).read_bytes(), places


@pytest.mark.usefixtures("quick")
def test_a_last_record_torn_at_any_byte_is_cut_and_the_next_takes_its_place(folder, three):
    file, data, places = three
    for cut in range(places[2].offset, len(data)):
        file.write_bytes(data[:cut])
        with Journal(folder, sync_s=NEVER) as journal:
            assert journal.num_cut_bytes == cut - places[2].offset
            assert contents(journal) == [make(0), make(1)]
            assert journal.append(make(7)) == places[2]
        assert read_all(folder) == [make(0), make(1), make(7)]


@pytest.mark.usefixtures("quick")
def test_a_header_torn_at_any_byte_is_an_empty_segment(folder, three):
    file, data, places = three
    for cut in range(places[0].offset):
        file.write_bytes(data[:cut])
        with Journal(folder, sync_s=NEVER) as journal:
            assert (journal.num_cut_bytes, contents(journal)) == (cut, [])
            journal.append(make(7))
        assert read_all(folder) == [make(7)]


@pytest.mark.usefixtures("quick")
def test_a_torn_header_of_a_later_segment_leaves_the_earlier_ones(folder):
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        journal.append(make(0, size=SMALL))
        journal.append(make(1))
    (folder / "segment-00000002.arrow").write_bytes((folder / FIRST).read_bytes()[:99])
    with Journal(folder, sync_s=NEVER) as journal:
        assert journal.num_cut_bytes == 99
        assert journal.append(make(2)).segment == 2
    assert read_all(folder) == [make(0, size=SMALL), make(2)]


@pytest.mark.parametrize("what", ["zeros", "ones", "noise", "a record of another place", "an end of stream"])
def test_garbage_behind_the_last_record_is_cut(folder, three, what):
    file, data, places = three
    garbage = {
        "zeros": bytes(5000),
        "ones": b"\xff" * 5000,
        "noise": bytes(i * i * 7919 % 256 for i in range(5000)),
        "a record of another place": data[places[1].offset : places[2].offset],
        "an end of stream": b"\xff\xff\xff\xff\0\0\0\0",
    }[what]
    file.write_bytes(data + garbage)
    with Journal(folder, sync_s=NEVER) as journal:
        assert journal.num_cut_bytes == len(garbage)
        assert contents(journal) == [make(0), make(1), make(2)]


@pytest.mark.parametrize("num_torn", [1, 2, 3])
def test_payloads_that_never_reached_the_disk_are_cut_from_the_end(folder, three, num_torn):
    # What a loss of power leaves: the file has its length, its last blocks are zeros.
    file, data, places = three
    for i in range(3 - num_torn, 3):
        data = data.replace(make(i).payload, bytes(40))
    file.write_bytes(data)
    with Journal(folder, sync_s=NEVER) as journal:
        assert journal.num_cut_bytes == len(data) - places[3 - num_torn].offset
        assert contents(journal) == [make(i) for i in range(3 - num_torn)]


@pytest.mark.usefixtures("quick")
def test_a_flipped_byte_before_the_last_record_is_refused_by_name_or_changes_nothing(folder, three):
    file, data, places = three
    refusals = []
    positions = [*range(places[0].offset), *range(places[1].offset, places[2].offset)]
    for position in positions:
        flipped = bytearray(data)
        flipped[position] ^= 0x41
        file.write_bytes(flipped)
        try:
            assert read_all(folder) == [make(0), make(1), make(2)]
        except JournalError as error:
            refusals.append(str(error))
        assert file.read_bytes() == flipped
    assert all(str(file) in refusal for refusal in refusals)
    # What changes nothing is padding.
    assert len(refusals) > len(positions) // 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("which", [0, 1])
def test_a_record_whose_length_was_changed_swallows_no_other(folder, three, which):
    file, data, places = three
    start = places[which].offset
    length = pa.ipc.read_message(pa.py_buffer(data[start:])).body.size
    position = data.index(length.to_bytes(8, "little"), start)
    for longer in range(8, len(data) - places[which + 1].offset + 1, 8):
        changed = (length + longer).to_bytes(8, "little")
        file.write_bytes(data[:position] + changed + data[position + 8 :])
        with pytest.raises(JournalError, match=f"{FIRST} must have a whole record at offset {start:,}, "):
            read_all(folder)


@pytest.mark.usefixtures("quick")
def test_a_header_whose_length_was_changed_swallows_no_record(folder, three):
    file, data, places = three
    data = data[: places[1].offset]
    length = int.from_bytes(data[4:8], "little")
    assert length + 8 == places[0].offset
    for longer in range(8, len(data) - places[0].offset + 1, 8):
        file.write_bytes(data[:4] + (length + longer).to_bytes(4, "little") + data[8:])
        with pytest.raises(JournalError, match=f"{FIRST} must have a whole header at offset 0, "):
            read_all(folder)


@pytest.mark.parametrize("what", ["kind", "meta", "payload"])
def test_damage_before_the_last_record_is_refused_by_file_and_offset(folder, three, what):
    file, data, places = three
    sought = {"kind": b"generated", "meta": b'"g1"', "payload": make(1).payload}[what]
    position = data.index(sought, places[1].offset)
    file.write_bytes(data[: position + 1] + b"!" + data[position + 2 :])
    with pytest.raises(
        JournalError, match=f"{FIRST} must have a whole record at offset {places[1].offset:,}, "
    ):
        read_all(folder)


def test_damage_in_an_older_segment_is_refused_by_its_name(folder):
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        places = [journal.append(make(i, size=SMALL)) for i in range(3)]
    file = folder / "segment-00000002.arrow"
    data = file.read_bytes()
    expected = rf"segment-00000002.arrow must have a whole record at offset {places[1].offset:,}"
    for damaged in (data[:-8], data[:-600] + bytes(600)):
        file.write_bytes(damaged)
        with Journal(folder, sync_s=NEVER) as journal:
            with pytest.raises(JournalError, match=expected):
                contents(journal)
            with pytest.raises(JournalError, match=expected):
                journal.rewrite([], places)
            assert journal.read(places[2]) == make(2, size=SMALL)
    file.write_bytes(data[:50])
    with pytest.raises(JournalError, match=r"segment-00000002.arrow must have a whole header at offset 0"):
        Journal(folder, sync_s=NEVER)


@pytest.mark.parametrize(("gone", "message"), [(1, "the segment that begins it"), (2, "segment 2, got")])
def test_a_missing_segment_is_refused_by_its_number(folder, gone, message):
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        for i in range(3):
            journal.append(make(i, size=SMALL))
    (folder / f"segment-0000000{gone}.arrow").unlink()
    with pytest.raises(JournalError, match=message):
        Journal(folder, sync_s=NEVER)


def test_a_segment_of_another_version_is_refused_and_stays_as_it_is(folder, monkeypatch):
    with Journal(folder, sync_s=NEVER) as journal:
        journal.append(make(0))
    with monkeypatch.context() as patch:
        patch.setattr(journal_records, "SCHEMA_VERSION", 2)
        data = (folder / FIRST).read_bytes()
        with pytest.raises(JournalError, match=f"{FIRST}: journal schema version must be 2, got 1"):
            Journal(folder, sync_s=NEVER)
    assert (folder / FIRST).read_bytes() == data
    assert read_all(folder) == [make(0)]


def test_a_second_writer_is_refused_until_the_first_has_closed(folder):
    with Journal(folder, sync_s=NEVER) as journal:
        with pytest.raises(JournalError, match=r"journal .* must have one writer, got a second"):
            Journal(folder, sync_s=NEVER)
        journal.append(make(0))
    assert read_all(folder) == [make(0)]


def test_a_journal_that_was_refused_can_be_opened_once_it_is_mended(folder, three):
    file, data, _ = three
    file.write_bytes(b"x" * 8 + data[8:])
    with pytest.raises(JournalError):
        Journal(folder, sync_s=NEVER)
    file.write_bytes(data)
    assert len(read_all(folder)) == 3


def child_appends(folder, reports):
    with Journal(folder, sync_s=0.01, segment_bytes=1 << 16) as journal:
        num = len(list(journal.records()))
        while True:
            journal.append(make(num, size=num % 3000))
            num += 1
            reports.send(num)


def test_a_writer_killed_again_and_again_loses_nothing_it_reported_and_blocks_nobody(folder):
    for _ in range(3):
        receiver, sender = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=child_appends, args=(folder, sender), daemon=True)
        process.start()
        sender.close()
        assert receiver.poll(60)
        first = num = receiver.recv()
        while num < first + 150:
            num = receiver.recv()
        with pytest.raises(JournalError, match="one writer"):
            Journal(folder, sync_s=NEVER)
        os.kill(process.pid, signal.SIGKILL)
        process.join(10)
        assert process.exitcode == -signal.SIGKILL
        found = read_all(folder)
        assert len(found) >= num
        assert found == [make(i, size=i % 3000) for i in range(len(found))]


def die(*_args, **_named):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def child_rewrites(folder, step):
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        places = [place for place, _ in journal.records()]
        replace, unlink = os.replace, Path.unlink

        def replace_and_die(*paths):
            replace(*paths)
            die()

        def unlink_and_die(path):
            unlink(path)
            die()

        match step:
            case "before the new segment is on disk":
                os.fsync = die
            case "before it has its name":
                os.replace = die
            case "after it has its name":
                os.replace = replace_and_die
            case "between the removals of the old ones":
                Path.unlink = unlink_and_die
        journal.rewrite([Record(kind="mark")], places[-1:])


OLD = [make(i, size=SMALL) for i in range(3)]
NEW = [Record(kind="mark"), OLD[-1]]


@pytest.mark.parametrize(
    ("step", "expected", "num_files"),
    [
        ("before the new segment is on disk", OLD, 3),
        ("before it has its name", OLD, 3),
        ("after it has its name", NEW, 1),
        ("between the removals of the old ones", NEW, 1),
    ],
)
def test_a_rewrite_killed_between_its_steps_leaves_the_old_records_or_the_new_ones(
    folder, step, expected, num_files
):
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        for record in OLD:
            journal.append(record)
    process = SPAWN.Process(target=child_rewrites, args=(folder, step), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        assert contents(journal) == expected
        assert len(list(folder.glob("*segment*"))) == num_files
        journal.append(make(9))
    assert read_all(folder) == [*expected, make(9)]
