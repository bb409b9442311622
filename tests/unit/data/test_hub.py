"""Sources of the Hub, with a stand-in for the package `datasets`, which is not always installed."""

import io
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.data.sources import open_source


class FakeDataset:
    """What we use of `datasets.Dataset`: its columns, its rows as Arrow, where its cache is."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.column_names = table.column_names
        self.cache_files = [{"filename": "/cache/set/train.arrow"}]

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def select_columns(self, names: list[str]) -> "FakeDataset":
        return FakeDataset(self._table.select(names))

    def with_format(self, kind: str) -> "FakeDataset":
        assert kind == "arrow", "any other one decodes the images"
        return self

    def __getitem__(self, rows: slice) -> Any:
        return self._table[rows]


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"image": {"bytes": png(), "path": None}, "problem": f"q{i}", "answer": i} for i in range(9)]
    splits = {"train": pa.Table.from_pylist(rows), "test": pa.Table.from_pylist(rows[:2])}

    def load_dataset(name: str, *subset: str, split: str) -> FakeDataset:
        if subset == ("easy (4 options)",):
            return FakeDataset(splits["test"])
        if name != "lab/set" or split not in splits:
            raise ValueError(f'Unknown split "{split}".\nShould be one of {list(splits)}.')
        return FakeDataset(splits[split])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))


COLUMNS = ColumnsConfig(images="image")


def test_a_data_set_of_the_hub_is_drawn_like_a_file_and_travels() -> None:
    source = open_source("hub:lab/set", split="train", seed=3, columns=COLUMNS)
    assert (source.name, source.num_rows) == ("hub:lab/set@train", 9)
    copy = pickle.loads(pickle.dumps(source))
    drawn = [copy.prompt(index) for index in range(18)]
    assert [source.prompt(index) for index in range(18)] == drawn
    assert sorted(prompt.answer for prompt in drawn[:9]) == list("012345678")
    assert all(prompt.prompt_id == f"lab/set@train/{prompt.answer}" for prompt in drawn)
    assert all(prompt.images == (png(),) for prompt in drawn)


def test_held_out_prompts_name_their_split() -> None:
    assert open_source("hub:lab/set@test", split="heldout", seed=0, columns=COLUMNS).num_rows == 2
    with pytest.raises(ConfigError, match="must name their split, hub:lab/set@SPLIT"):
        open_source("hub:lab/set", split="heldout", seed=0, columns=COLUMNS)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("hub:lab/set@tset", 'can be loaded: ValueError: Unknown split "tset". Should be one of'),
        ("hub:", "must be hub:NAME.:SUBSET..@SPLIT."),
        ("hub:lab/set:@test", "must be hub:NAME.:SUBSET..@SPLIT."),
        ("hub:lab/set@", "must be hub:NAME.:SUBSET..@SPLIT."),
        ("hub:lab/set", r"hub:lab/set@train must have a column 'images', .* did you mean 'image'"),
    ],
)
def test_what_the_hub_does_not_have_is_a_config_error_of_one_line(spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        open_source(spec, split="train", seed=0)
    assert "\n" not in str(caught.value)


def test_a_subset_is_named_behind_the_data_set() -> None:
    source = open_source("hub:lab/set:easy (4 options)@train", split="train", seed=0, columns=COLUMNS)
    assert (source.num_rows, source.name) == (2, "hub:lab/set:easy (4 options)@train")
    assert source.prompt(0).prompt_id.startswith("lab/set:easy (4 options)@train/")


def test_without_the_package_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match="needs the package 'datasets': install it, or"):
        open_source("hub:lab/set", split="train", seed=0)
