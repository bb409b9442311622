"""The journal on a real disk: what goes in comes out in order, after reopening, rewriting, a full disk."""

import errno
import os
import resource
import shutil
import struct
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.journals import NEVER, SMALL, contents, make

from pgpo_async.actors.journal import Journal, Place, Record
from pgpo_async.contracts import JournalError


def refuse(code):
    def refused(*_args, **_named):
        raise OSError(code, os.strerror(code))

    return refused


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "journal"


def test_records_come_back_in_order_from_several_segments(folder):
    records = [make(i, size=700) for i in range(20)]
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        places = [journal.append(record) for record in records]
        assert contents(journal) == records
    assert places == sorted(places)
    assert places[-1].segment > 2
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        assert [place for place, _ in journal.records()] == places
        assert contents(journal) == records
        assert [journal.read(place) for place in reversed(places)] == records[::-1]
        assert journal.num_cut_bytes == 0
        assert journal.num_bytes == sum(path.stat().st_size for path in folder.glob("*.arrow"))


def test_payloads_are_left_out_unless_asked_for(folder):
    with Journal(folder, sync_s=NEVER) as journal:
        journal.append(make(3))
        assert [record for _, record in journal.records()] == [make(3, size=0)]


def test_any_arrow_reader_reads_a_segment(folder):
    with Journal(folder, sync_s=NEVER) as journal:
        journal.append(make(3))
        journal.append(Record(kind="mark", meta={"cursor": 7}))
    table = pa.ipc.open_stream(folder / "segment-00000001.arrow").read_all()
    assert table.schema.metadata[b"pgpo_async.journal_schema"] == b"1"
    assert table.select(["kind", "index", "meta", "payload"]).to_pylist() == [
        {"kind": "generated", "index": 3, "meta": '{"group_id":"g3"}', "payload": bytes([4]) * 40},
        {"kind": "mark", "index": -1, "meta": '{"cursor":7}', "payload": b""},
    ]


def test_a_read_of_no_record_is_refused(folder):
    with Journal(folder, sync_s=NEVER) as journal:
        place = journal.append(make(0))
        with pytest.raises(JournalError, match=r"segment-00000001.arrow must have a whole record at offset"):
            journal.read(Place(1, place.offset + 8))
        for beyond in (Place(1, journal.num_bytes), Place(2, 0), Place(1, -1)):
            with pytest.raises(JournalError, match="must have a record at"):
                journal.read(beyond)


def test_a_record_without_a_form_is_refused_and_the_next_is_taken(folder):
    with Journal(folder, sync_s=NEVER) as journal:
        with pytest.raises(TypeError):
            journal.append(Record(kind="mark", meta={"what": object()}))
        with pytest.raises(ValueError, match="surrogates"):
            journal.append(Record(kind="\ud800"))
        with pytest.raises(struct.error):
            journal.append(Record(kind="mark", index=2**63))
        journal.append(make(1))
        assert contents(journal) == [make(1)]


@pytest.mark.parametrize(
    ("sync_s", "expected"), [(0.0, [1, 1, 1, 1]), (10.0, [0, 0, 1, 0]), (NEVER, [0, 0, 0, 0])]
)
def test_an_append_syncs_when_the_last_sync_is_old_enough(folder, monkeypatch, sync_s, expected):
    calls, now = [], [0.0]
    with Journal(folder, sync_s=sync_s, clock=lambda: now[0]) as journal:
        monkeypatch.setattr(os, "fsync", calls.append)
        nums = []
        for now[0] in (0.0, 9.0, 10.0, 19.0):
            before = len(calls)
            journal.append(make(0))
            nums.append(len(calls) - before)
        assert nums == expected
        before = len(calls)
    assert len(calls) == before + 1


def test_each_step_is_on_disk_before_the_next_relies_on_it(folder, monkeypatch):
    done = []

    def note(owner, name, what):
        real = getattr(owner, name)

        def noted(first, *others, **named):
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first
            done.append(f"{what} {Path(path).name}")
            return real(first, *others, **named)

        monkeypatch.setattr(owner, name, noted)

    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        journal.append(make(0, size=SMALL))
        note(os, "pwrite", "write")
        note(os, "fsync", "sync")
        note(os, "replace", "rename")
        note(Path, "unlink", "remove")
        journal.append(make(1))
        header_and_record = ["write segment-00000002.arrow", "sync journal", "write segment-00000002.arrow"]
        assert done == ["sync segment-00000001.arrow", *header_and_record]
        done.clear()
        journal.rewrite([make(2)], [])
        assert done[2:] == [
            "sync .segment-00000003.new",
            "rename .segment-00000003.new",
            "sync journal",
            "remove segment-00000001.arrow",
            "remove segment-00000002.arrow",
        ]
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sync_s": -1.0}, "sync_s must be at least 0, got -1.0"),
        ({"sync_s": float("nan")}, "sync_s must be at least 0, got nan"),
        ({"sync_s": 0.0, "segment_bytes": 100}, "segment_bytes must be at least 4,096, got 100"),
    ],
)
def test_options_out_of_range_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        Journal(folder, **options)


def test_a_rewrite_keeps_what_it_is_told_to_behind_the_head(folder):
    head = [Record(kind="mark", meta={"cursor": 9}), make(100)]
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        places = [journal.append(make(i, size=700)) for i in range(20)]
        kept = [places[17], places[2]]
        moved = journal.rewrite(head, kept)
        assert [journal.read(moved[place]) for place in kept] == [make(17, 700), make(2, 700)]
        with pytest.raises(JournalError, match="must have a record at"):
            journal.read(places[2])
        assert len(list(folder.glob("*segment*"))) == 1
        journal.append(make(21))
        expected = [*head, make(17, 700), make(2, 700), make(21)]
        assert contents(journal) == expected
    with Journal(folder, sync_s=NEVER) as journal:
        assert contents(journal) == expected


def test_a_record_is_not_kept_twice(folder):
    with Journal(folder, sync_s=NEVER) as journal:
        place = journal.append(make(0))
        with pytest.raises(ValueError, match="kept must name a record once, got 2 places of 1"):
            journal.rewrite([], [place, place])
        assert contents(journal) == [make(0)]


@pytest.mark.parametrize("step", ["replace", "fsync", "pwrite"])
def test_a_rewrite_that_the_disk_refuses_leaves_the_old_records(folder, monkeypatch, step):
    with Journal(folder, sync_s=NEVER) as journal:
        places = [journal.append(make(i)) for i in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(os, step, refuse(errno.ENOSPC))
            with pytest.raises(JournalError, match=r"journal .* must be rewritten, got .*No space left"):
                journal.rewrite([], places[:1])
        assert [path.name for path in folder.glob("*segment*")] == ["segment-00000001.arrow"]
        assert journal.read(places[2]) == make(2)
        journal.append(make(3))
        assert contents(journal) == [make(i) for i in range(4)]


def test_on_a_full_disk_nothing_of_a_record_is_kept_and_the_next_one_is_taken(folder):
    file = folder / "segment-00000001.arrow"
    with Journal(folder, sync_s=NEVER) as journal:
        journal.append(make(0))
        size = journal.num_bytes
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # A real partial write: the kernel takes what there is room for, and then no more.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, limits[1]))
        try:
            with pytest.raises(
                JournalError, match=r"journal .*journal must take a payload of 9,000 bytes, got"
            ):
                journal.append(make(1, size=9000))
            assert file.stat().st_size == journal.num_bytes == size
            journal.append(make(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        journal.append(make(3, size=9000))
    with Journal(folder, sync_s=NEVER) as journal:
        assert journal.num_cut_bytes == 0
        assert contents(journal) == [make(0), make(2), make(3, size=9000)]


@pytest.mark.parametrize(("step", "sync_s"), [("pwrite", NEVER), ("fsync", 0.0)])
def test_a_record_that_the_disk_refuses_is_not_there_whatever_fails(folder, monkeypatch, step, sync_s):
    with Journal(folder, sync_s=sync_s) as journal:
        journal.append(make(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, step, refuse(errno.ENOSPC))
            patch.setattr(os, "ftruncate", refuse(errno.EIO))
            with pytest.raises(JournalError, match="No space left on device"):
                journal.append(make(1, size=999))
        assert contents(journal) == [make(0)]
        journal.append(make(2))
    with Journal(folder, sync_s=NEVER) as journal:
        assert contents(journal) == [make(0), make(2)]


def test_a_segment_that_cannot_be_begun_is_begun_by_a_later_record(folder, monkeypatch):
    with Journal(folder, sync_s=NEVER, segment_bytes=SMALL) as journal:
        journal.append(make(0, size=SMALL))
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", refuse(errno.ENOSPC))
            with pytest.raises(JournalError, match="No space left on device"):
                journal.append(make(1))
        assert len(list(folder.glob("segment-*"))) == 1
        assert journal.append(make(2)).segment == 2
        assert contents(journal) == [make(0, size=SMALL), make(2)]


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"journal .*file/journal must be opened, got .*Not a directory"):
        Journal(tmp_path / "file" / "journal", sync_s=NEVER)


metas = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    max_size=3,
)
any_record = st.builds(
    Record,
    kind=st.text(st.characters(codec="utf-8"), max_size=9),
    index=st.integers(-(2**63), 2**63 - 1),
    meta=metas,
    payload=st.binary(max_size=60) | st.binary(min_size=900, max_size=1000),
)


class JournalMachine(RuleBasedStateMachine):
    """A journal beside a list, which it must always equal."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.expected = []
        self.journal = Journal(self.folder, sync_s=NEVER, segment_bytes=SMALL)

    @rule(record=any_record)
    def append(self, record):
        self.expected.append((self.journal.append(record), record))

    @rule(torn=st.binary(max_size=300))
    def reopen_after_a_torn_write(self, torn):
        self.journal.close()
        last = max(self.folder.glob("segment-*"))
        with last.open("ab") as file:
            file.write(torn)
        self.journal = Journal(self.folder, sync_s=NEVER, segment_bytes=SMALL)
        assert self.journal.num_cut_bytes == len(torn)

    @precondition(lambda self: len(self.expected) > 3)
    @rule(data=st.data(), head=st.lists(any_record, max_size=2))
    def rewrite(self, data, head):
        kept = data.draw(st.lists(st.sampled_from([place for place, _ in self.expected]), unique=True))
        records = dict(self.expected)
        moved = self.journal.rewrite(head, kept)
        assert list(moved) == kept
        now = list(self.journal.records(with_payload=True))
        assert [record for _, record in now[: len(head)]] == head
        assert [place for place, _ in now[len(head) :]] == list(moved.values())
        assert [record for _, record in now[len(head) :]] == [records[place] for place in kept]
        self.expected = now

    @invariant()
    def it_is_the_list(self):
        assert list(self.journal.records(with_payload=True)) == self.expected
        for place, record in self.expected[-2:]:
            assert self.journal.read(place) == record

    def teardown(self):
        self.journal.close()
        shutil.rmtree(self.folder)


TestJournalMachine = JournalMachine.TestCase
TestJournalMachine.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
