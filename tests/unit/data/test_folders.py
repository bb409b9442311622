"""Folders of files as one source, columns by other names, and the rows that a filter refuses."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pgpo_async.config import load_config
from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.contracts import ConfigError, PromptError
from pgpo_async.data.files import FolderRows
from pgpo_async.data.row_source import RowSource
from pgpo_async.data.sources import held_out_source, open_source, train_source


def png(red: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6), (red, 2, 3)).save(buffer, format="PNG")
    return buffer.getvalue()


def rows(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {"images": [{"bytes": png(i % 256), "path": None}], "problem": f"q{i}", "answer": str(i)}
        for i in range(start, start + count)
    ]


def write_parquet(path: Path, content: list[dict[str, Any]], *, group: int = 5) -> None:
    pq.write_table(pa.Table.from_pylist(content), path, row_group_size=group)


def write_jsonl(path: Path, content: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))


def opened(path: Path) -> RowSource:
    source = open_source(str(path), split="train", seed=0)
    assert isinstance(source, RowSource)
    return source


def test_a_folder_is_one_source_whose_prompts_name_their_file_and_row(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write_parquet(folder / "b.parquet", rows(12, 9))
    write_parquet(folder / "a.parquet", rows(0, 12))
    write_jsonl(folder / "c.jsonl", [row | {"images": ["x.png"]} for row in rows(21, 4)])
    (folder / "x.png").write_bytes(png())
    (folder / ".hidden.jsonl").write_text("no row\n")
    (folder / "README.md").write_text("no rows either\n")
    source = opened(folder)
    assert source.num_rows == 25
    drawn = [source.prompt(i) for i in range(25)]
    ids = {int(prompt.answer): prompt.prompt_id for prompt in drawn}
    files = {"a.parquet": range(12), "b.parquet": range(12, 21), "c.jsonl": range(21, 25)}
    assert ids == {
        answer: f"set/{name}/{row}" for name, answers in files.items() for row, answer in enumerate(answers)
    }
    assert all(prompt.images == (png(int(prompt.answer)),) for prompt in drawn if int(prompt.answer) < 21)


def test_the_files_of_a_folder_share_one_cache_and_are_read_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgpo_async.data.parquet_rows.MAX_CACHED_GROUPS", 3)
    for shard in range(6):
        write_parquet(tmp_path / f"{shard}.parquet", rows(20 * shard, 20))
    source = opened(tmp_path)
    reader = source.open()
    assert isinstance(reader, FolderRows)
    readers: list[Any] = reader._readers
    for index in range(120):
        source.prompt(index)
        assert len(readers[0]._cache) <= 3
    assert sum(reader.num_group_reads for reader in readers) == 24
    assert len({id(reader._cache) for reader in readers}) == 1


def test_rows_of_jsonl_files_are_shuffled_among_all_of_a_folder(tmp_path: Path) -> None:
    for shard in range(4):
        write_jsonl(tmp_path / f"{shard}.jsonl", [row | {"images": []} for row in rows(50 * shard, 50)])
    source = opened(tmp_path)
    first = {int(source.prompt(index).answer) // 50 for index in range(40)}
    assert first == {0, 1, 2, 3}


def test_a_folder_that_is_no_source_is_told_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_parquet(tmp_path / "data" / "train.parquet", rows(0, 3))
    with pytest.raises(ConfigError, match=r"got none in .* did you mean .*data"):
        opened(tmp_path)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"torn\.parquet must be a readable Parquet file"):
        opened(tmp_path)


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_columns_may_have_other_names(tmp_path: Path, kind: str) -> None:
    content = {"query": "how many?", "solution": 3, "image.path": "x.png", "problem": "not this"}
    (tmp_path / "x.png").write_bytes(png())
    path = tmp_path / f"set.{kind}"
    (write_parquet if kind == "parquet" else write_jsonl)(path, [content])
    columns = ColumnsConfig(images="image.path", problem="query", answer="solution")
    prompt = open_source(str(path), split="train", seed=0, columns=columns).prompt(0)
    assert (prompt.question, prompt.answer, prompt.images) == ("how many?", "3", (png(),))
    wrong = ColumnsConfig(images="image.path", problem="querry", answer="solution")
    with pytest.raises(
        ConfigError, match=r"'querry', got .*: did you mean 'query'\? \(columns: {problem: query}"
    ):
        open_source(str(path), split="train", seed=0, columns=wrong)


def test_a_config_names_the_columns_of_both_sources_and_what_training_must_have(tmp_path: Path) -> None:
    content = [{"pic": [], "q": "1 + 1?", "answer": "2"}, {"pic": ["x.png"], "q": "how many?", "answer": "3"}]
    (tmp_path / "x.png").write_bytes(png())
    write_jsonl(tmp_path / "set.jsonl", content)
    path = tmp_path / "set.jsonl"
    config = load_config(
        "configs/local.yaml",
        [
            f"data.source={path}",
            "data.columns={images: pic, problem: q}",
            "data.require_image=true",
            f"evaluation.source={path}",
        ],
    )
    source = train_source(config)
    found: list[str] = []
    for index in range(2):
        try:
            found.append(source.prompt(index).answer)
        except PromptError as error:
            found.append(error.reason)
    assert sorted(found) == ["3", "no_image"]
    assert sorted(held_out_source(config).prompt(index).answer for index in range(2)) == ["2", "3"]
