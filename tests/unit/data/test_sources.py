"""Sources: the order, the rows that cannot be used, files that cannot be opened, and what stays in memory."""

import base64
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.contracts import ConfigError, PromptError
from pgpo_async.data.drawing import epoch_order
from pgpo_async.data.parquet_rows import GroupCache, ParquetRows
from pgpo_async.data.row_source import RowSource
from pgpo_async.data.sources import open_source


def png(colour: tuple[int, int, int] = (1, 2, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"images": [{"bytes": png((i % 256, 0, 0)), "path": None}], "problem": f"q{i}", "answer": str(i)}
        for i in range(count)
    ]


def parquet(path: Path, content: list[dict[str, Any]], *, group: int = 100) -> str:
    pq.write_table(pa.Table.from_pylist(content), path, row_group_size=group)
    return str(path)


def jsonl(path: Path, content: list[Any]) -> str:
    path.write_text("".join((c if isinstance(c, str) else json.dumps(c)) + "\n" for c in content))
    return str(path)


def reasons(spec: str) -> dict[str, str]:
    """Reason by prompt id, "" for a row that gives a prompt, over one epoch."""
    source = open_source(spec, split="train", seed=0)
    assert source.num_rows is not None
    found = {}
    for index in range(source.num_rows):
        try:
            found[source.prompt(index).prompt_id] = ""
        except PromptError as error:
            found[error.prompt_id] = error.reason
    return found


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    window=st.integers(1, 5),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 5),
)
def test_an_epoch_draws_each_row_once_and_few_blocks_at_a_time(
    sizes: list[int], window: int, seed: int, epoch: int
) -> None:
    order = epoch_order(sizes, window=window, seed=seed, epoch=epoch).tolist()
    assert sorted(order) == list(range(sum(sizes)))
    block_of = [block for block, size in enumerate(sizes) for _ in range(size)]
    last_seen = {block_of[row]: place for place, row in enumerate(order)}
    first_seen = {block_of[row]: place for place, row in reversed(list(enumerate(order)))}
    for place in range(len(order)):
        assert sum(first_seen[b] <= place <= last_seen[b] for b in first_seen) <= window


def test_the_order_is_the_same_for_ever_and_differs_by_seed_and_epoch() -> None:
    order = epoch_order([50], window=1, seed=7, epoch=0).tolist()
    assert order[:8] == [28, 32, 14, 39, 22, 21, 11, 41]  # a resumed run depends on it
    assert order != epoch_order([50], window=1, seed=8, epoch=0).tolist()
    assert order != epoch_order([50], window=1, seed=7, epoch=1).tolist()


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_prompts_are_drawn_at_random_access_the_same_in_a_pickled_copy(tmp_path: Path, kind: str) -> None:
    content = rows(23)
    if kind == "parquet":
        spec = parquet(tmp_path / "set.parquet", content, group=5)
    else:
        (tmp_path / "pictures").mkdir()
        for i, row in enumerate(content):
            (tmp_path / "pictures" / f"{i}.png").write_bytes(row["images"][0]["bytes"])
            row["images"] = [f"pictures/{i}.png"]
        spec = jsonl(tmp_path / "set.jsonl", content)
    source = open_source(spec, split="train", seed=3)
    copy = pickle.loads(pickle.dumps(source))
    assert source.num_rows == copy.num_rows == 23
    drawn = [source.prompt(i) for i in range(46)]
    assert [copy.prompt(i) for i in reversed(range(46))] == drawn[::-1]
    assert sorted(p.answer for p in drawn[:23]) == sorted(p.answer for p in drawn[23:])
    assert [p.answer for p in drawn[:23]] != [p.answer for p in drawn[23:]]
    for index, prompt in enumerate(drawn):
        assert prompt.index == index
        assert prompt.prompt_id == f"set/{prompt.answer}"
        assert prompt.question == f"q{prompt.answer}"
        assert prompt.images == (png((int(prompt.answer), 0, 0)),)


def test_a_parquet_epoch_decodes_each_row_group_once_and_holds_a_bounded_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgpo_async.data.parquet_rows.MAX_CACHED_GROUPS", 3)
    spec = parquet(tmp_path / "set.parquet", rows(100), group=5)
    source = open_source(spec, split="train", seed=0)
    assert isinstance(source, RowSource)
    reader = source.open()
    assert isinstance(reader, ParquetRows)
    most_held = 0
    for index in range(100):
        source.prompt(index)
        most_held = max(most_held, len(reader._cache))
    assert reader.num_group_reads == 20
    assert most_held == 3


def test_the_cache_shrinks_to_one_group_where_groups_are_large(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(parquet(tmp_path / "set.parquet", rows(20), group=5))
    assert ParquetRows(path, ColumnsConfig(), GroupCache(100)).window == 1
    assert "smaller row groups" in caplog.text


@pytest.mark.parametrize(
    ("images", "count"),
    [
        (pa.array([[png()]], pa.list_(pa.binary())), 1),
        (pa.array([png()], pa.binary()), 1),
        (pa.array([{"bytes": png(), "path": "x.png"}]), 1),
        (pa.array([[{"bytes": None, "path": "x.png"}]]), 1),
        (pa.array([["x.png", "x.png"]]), 2),
        (pa.array(["x.png"]), 1),
        (pa.array([[]], pa.list_(pa.binary())), 0),
        (pa.array([None], pa.list_(pa.binary())), 0),
    ],
)
def test_images_may_be_bytes_structs_or_paths_alone_or_in_lists(
    tmp_path: Path, images: pa.Array, count: int
) -> None:
    (tmp_path / "x.png").write_bytes(png())
    table = pa.table({"images": images, "problem": ["q"], "answer": pa.array([7])})
    pq.write_table(table, tmp_path / "set.parquet")
    prompt = open_source(str(tmp_path / "set.parquet"), split="heldout", seed=0).prompt(0)
    assert prompt.images == (png(),) * count
    assert prompt.answer == "7"


def test_a_row_that_cannot_be_used_says_why_and_harms_no_other(tmp_path: Path) -> None:
    photo = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(photo, format="JPEG")

    def row(**changes: Any) -> dict[str, Any]:
        return {"images": [], "problem": "q", "answer": "3"} | changes

    def image(data: bytes) -> list[dict[str, str]]:
        return [{"bytes": base64.b64encode(data).decode()}]

    content = [
        row(),
        row(answer=None),
        row(answer="  \n"),
        row(answer=float("nan")),
        row(images=image(b"no image")),
        row(images=image(png()[:50])),
        row(images=image(photo.getvalue()[: len(photo.getvalue()) // 2])),
        row(images=[{"bytes": "no base64!"}]),
        row(images=["no/such/file.png"]),
        row(images=[3]),
        row(problem=None),
        "{torn",
        "[1, 2]",
        row(images=image(photo.getvalue())),
    ]
    expected = ["", *["missing_answer"] * 3, *["corrupt_image"] * 4, *["unreadable_row"] * 5, ""]
    found = reasons(jsonl(tmp_path / "set.jsonl", content))
    assert [found[f"set/{number}"] for number in range(len(content))] == expected


def test_a_row_group_torn_on_disk_is_unreadable_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    parquet(path, rows(20), group=5)
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    found = reasons(str(path))
    assert [number for number in range(20) if found[f"set/{number}"]] == [5, 6, 7, 8, 9]
    assert set(found.values()) == {"", "unreadable_row"}


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    line = json.dumps({"images": None, "problem": "wie viele ä ?", "answer": 2}, ensure_ascii=False)
    path.write_text(f"\n{line}\n  \n{line}", encoding="utf-8")
    source = open_source(str(path), split="train", seed=0)
    assert source.num_rows == 2
    assert source.prompt(3).question == "wie viele ä ?"


def test_a_file_that_cannot_be_a_source_is_a_config_error_with_a_hint(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", rows(3))
    renamed = [{"image": None, "problem": "q", "answers": "3"}]
    pq.write_table(pa.Table.from_pylist(rows(3)).slice(0, 0), tmp_path / "empty.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "list.jsonl").write_text("[1]\n" * 20)
    cases = {
        str(tmp_path / "trian.parquet"): "did you mean 'train.parquet'",
        str(tmp_path / "train.csv"): "ending in one of",
        "builtin:shape": "must be 'builtin:shapes' or 'builtin:objects'",
        "shapes": "did you mean 'builtin:shapes'",
        "objects": "did you mean 'builtin:objects'",
        parquet(
            tmp_path / "renamed.parquet", renamed
        ): r"column 'answer', got .* did you mean 'answers'\? \(columns: {answer: answers}\)",
        jsonl(tmp_path / "renamed.jsonl", renamed): "column 'images', got .* did you mean 'image'",
        str(tmp_path / "empty.parquet"): "at least one row",
        str(tmp_path / "torn.parquet"): "readable Parquet",
        str(tmp_path / "empty.jsonl"): "at least one row",
        str(tmp_path / "list.jsonl"): "one JSON object a line",
    }
    for spec, words in cases.items():
        with pytest.raises(ConfigError, match=words):
            open_source(spec, split="train", seed=0)
    with pytest.raises(ConfigError, match="seed"):
        open_source("builtin:shapes", split="train", seed=-1)


@pytest.mark.parametrize("name", ["builtin:shapes", "builtin:objects"])
def test_the_built_in_data_are_endless_and_their_splits_differ(name: str) -> None:
    train = open_source(name, split="train", seed=5)
    heldout = open_source(name, split="heldout", seed=5)
    assert train.name == name
    assert train.num_rows is None
    prompt = train.prompt(10**9)
    assert pickle.loads(pickle.dumps(train)).prompt(10**9) == prompt
    assert prompt.index == 10**9
    assert prompt.images != heldout.prompt(10**9).images
