"""Importing known sets: every published schema, what becomes of its rows, and what is left out."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import published_sets
from support.published_sets import png, published, stored, write_parquet
from typer.testing import CliRunner

from pgpo_async.cli import app
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.data.chat import IMAGE_MARKER
from pgpo_async.data.importing import BENCHMARKS, KNOWN_SETS, SUITES, known_set, read_labels, read_origin
from pgpo_async.data.importing.import_run import import_set
from pgpo_async.data.importing.imported_writer import MAX_GROUP_ROWS
from pgpo_async.data.importing.placing import numbered_images, split_choices, with_choices
from pgpo_async.data.sources import open_source


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def imported(name: str, source: Path, folder: Path, **options: Any) -> list[dict[str, Any]]:
    output = folder / f"{name}.parquet"
    import_set(KNOWN_SETS[name], str(source), output, **options)
    return rows_of(output)


def prompts_of(path: Path) -> list[Prompt]:
    source = open_source(str(path), split="heldout", seed=0)
    assert source.num_rows is not None
    return [source.prompt(index) for index in range(source.num_rows)]


def test_the_suite_pgpo_is_the_papers_columns() -> None:
    titles = [BENCHMARKS[name].title for name in SUITES["pgpo"]]
    assert titles == [
        "DynaMath",
        "Geometry3K",
        "MathVerse",
        "MathVerse-V",
        "MathVision",
        "MMK12",
        "LogicVista",
        "MMMU-Pro",
    ]


def test_every_benchmark_is_imported_from_a_copy_of_its_repository_and_read_as_a_source(
    tmp_path: Path,
) -> None:
    counts = {"dynamath": 9, "geometry3k": 3, "mathverse": 5, "mathverse_v": 3, "mathvision": 3, "mmk12": 2}
    counts |= {"we_math": 3, "logicvista": 2, "mmmu_pro": 1}
    for name, source in published(tmp_path).items():
        output = tmp_path / f"{name}.parquet"
        done = import_set(KNOWN_SETS[name], str(source), output)
        prompts, labels = prompts_of(output), read_labels(output)
        assert len(prompts) == counts[name] == done.origin.num_rows, name
        assert {prompt.prompt_id for prompt in prompts} == set(labels), name
        assert len({label.row_id for label in labels.values()}) == len(prompts), name
        for prompt in prompts:
            assert prompt.question.count(IMAGE_MARKER) in (0, len(prompt.images)), name
            assert len(prompt.images) == 1, name
        assert read_origin(output) == done.origin


def test_mathverse_counts_rows_with_choices_as_the_tables_do_and_says_what_it_left(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "testmini.parquet", published_sets.mathverse())
    rows = imported("mathverse", source, tmp_path)
    assert [row["category"] for row in rows][-1] == "Vision Only"
    assert "Read the question and its choices in the image" in rows[-1]["problem"]
    assert read_origin(tmp_path / "mathverse.parquet").left_out == {"free_form_answer": 5}
    everything = imported("mathverse", source, tmp_path, every_row=True, force=True)
    assert [row["id"] for row in everything] == [str(number) for number in range(1, 11)]
    assert everything[-1]["problem"] == "Read the question in the image and answer it."


def test_mathvision_writes_choices_and_places_its_numbered_image(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "test.parquet", published_sets.mathvision())
    free, pictured, written = imported("mathvision", source, tmp_path)
    assert (free["problem"], free["choices"], free["answer"]) == ("How many circles?\n<image>", None, "4")
    assert pictured["problem"] == ("Which of <image> fits? See image 1 and image 2.\nChoices: A, B, C, D, E")
    assert (written["problem"], written["answer"]) == ("How long?\nA. 3 cm\nB. 4 cm", "B")
    assert written["choices"] == ["3 cm", "4 cm"]


def test_dynamaths_variants_of_a_question_are_one_group(tmp_path: Path) -> None:
    rows = imported("dynamath", published(tmp_path)["dynamath"], tmp_path)
    by_group: dict[str, list[str]] = {}
    for row in rows:
        by_group.setdefault(row["group"], []).append(row["id"])
    assert by_group == {str(n): [f"{n}-{variant}" for variant in (1, 2, 10)] for n in (1, 2, 3)}
    assert ["decimal number" in row["problem"] for row in rows[:3]] == [True, False, False]
    one = imported("dynamath", tmp_path / "dynamath", tmp_path, split="sample_variant10", force=True)
    assert [row["id"] for row in one] == ["1-10", "2-10", "3-10"]


def test_we_maths_options_become_lines_and_its_steps_a_group(tmp_path: Path) -> None:
    rows = imported("we_math", published(tmp_path)["we_math"], tmp_path)
    assert rows[0]["problem"].splitlines()[1:] == [
        "A. 200.96",
        "B. 32.15",
        "C. 62",
        "D. 3",
        "E. No correct answer",
    ]
    assert [(row["id"], row["group"], row["category"]) for row in rows][2] == (
        "2steps_7-2steps_multi",
        "2steps_7",
        "2steps_multi",
    )


def test_mmmu_pro_is_the_vision_subset_unless_the_other_is_named(tmp_path: Path) -> None:
    folder = published(tmp_path)["mmmu_pro"]
    (row,) = imported("mmmu_pro", folder, tmp_path)
    assert (row["choices"], row["answer"]) == (["a war", 'a "peace"', "neither"], "B")
    (row,) = imported("mmmu_pro", folder / "standard (10 options)", tmp_path, force=True)
    assert row["problem"] == ("Compare <image> with <image>. Is image 2 older?\nA. yes\nB. no\nC. as <image>")
    assert [image["bytes"] for image in row["images"]] == [png(2), png(1), png(3)]


def test_logicvistas_first_release_and_virl39ks_are_read_with_their_picture_files(tmp_path: Path) -> None:
    (row,) = imported("logicvista", published_sets.write_first_logicvista(tmp_path / "logic"), tmp_path)
    assert (row["id"], row["category"], row["answer"]) == ("v1_0", "deductive, spatial", "D")
    assert row["images"] == [stored(1)]
    (row,) = imported("virl39k", published_sets.write_virl39k(tmp_path / "virl"), tmp_path)
    assert row["images"] == [stored(0), stored(1)]
    assert (row["id"], row["problem"].count(IMAGE_MARKER)) == ("Proc-1", 2)


def test_an_evaluation_pack_loses_its_instruction_and_a_row_without_an_answer_is_counted(
    tmp_path: Path,
) -> None:
    (row,) = imported("we_math", published_sets.write_chat_pack(tmp_path / "pack"), tmp_path)
    assert (row["problem"], row["answer"]) == ("<image>What area? A. 1; B. 2", "B")
    assert row["images"] == [stored(5)]
    origin = read_origin(tmp_path / "we_math.parquet")
    assert (origin.layout, origin.left_out) == ("chat pack", {"unreadable_row": 1})


def test_every_row_that_cannot_be_used_is_counted_with_training_s_reasons(tmp_path: Path) -> None:
    good = published_sets.ready(2)
    bad = [
        {**good[0], "answer": ""},
        {**good[0], "images": [{"bytes": b"no picture", "path": None}]},
        {**good[0], "images": [None]},
        {**good[0], "images": [{"bytes": None, "path": "../other.png"}]},
        {**good[0], "images": []},  # of text only, and its marker is taken out
    ]
    (tmp_path / "other.png").write_bytes(png())
    source = write_parquet(tmp_path / "set/test.parquet", [*good, *bad])
    rows = imported("geometry3k", source, tmp_path)
    assert [len(row["images"]) for row in rows] == [1, 1, 0]
    assert rows[2]["problem"] == "Find x, 0."
    left_out = read_origin(tmp_path / "geometry3k.parquet").left_out
    assert left_out == {"missing_answer": 1, "corrupt_image": 1, "no_image": 1, "outside_path": 1}


def test_broken_lines_and_missing_keys_of_jsonl_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    lines = [{"images": [], "problem": "1 + 1?", "answer": 2}, {"problem": "?", "answer": 1}, "{"]
    source.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
    assert len(imported("geometry3k", source, tmp_path)) == 1
    assert read_origin(tmp_path / "geometry3k.parquet").left_out == {"unreadable_row": 2}


def test_a_damaged_row_group_costs_its_own_rows_only(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "test.parquet", published_sets.ready(12))  # 4 rows a group
    column = pq.ParquetFile(source).metadata.row_group(1).column(0)
    data = bytearray(source.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    source.write_bytes(data)
    rows = imported("geometry3k", source, tmp_path)
    assert [row["answer"] for row in rows] == [str(n) for n in (0, 1, 2, 3, 8, 9, 10, 11)]
    assert read_origin(tmp_path / "geometry3k.parquet").left_out == {"unreadable_row": 4}


def test_ids_that_two_rows_share_are_made_unique_and_counted(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "t.parquet", [{**row, "id": "same"} for row in published_sets.ready(3)])
    assert [row["id"] for row in imported("geometry3k", source, tmp_path)] == ["same", "same~2", "same~3"]
    assert read_origin(tmp_path / "geometry3k.parquet").num_renamed == 2


def test_a_limit_ends_it_and_row_groups_stay_small(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "t.parquet", published_sets.ready(2 * MAX_GROUP_ROWS + 20))
    assert len(imported("geometry3k", source, tmp_path, limit=2 * MAX_GROUP_ROWS + 5)) == 205
    metadata = pq.ParquetFile(tmp_path / "geometry3k.parquet").metadata
    groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    assert groups == [MAX_GROUP_ROWS, MAX_GROUP_ROWS, 5]


def test_the_hub_is_asked_for_the_sets_subset_and_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    class Rows:
        def __init__(self, content: list[dict[str, Any]]) -> None:
            self.table = pa.Table.from_pylist(content)
            self.column_names = self.table.column_names
            self.cache_files: list[dict[str, str]] = []

        def __len__(self) -> int:
            return int(self.table.num_rows)

        def with_format(self, kind: str) -> "Rows":
            assert kind == "arrow"
            return self

        def __getitem__(self, rows: slice) -> Any:
            return self.table[rows]

    def load_dataset(name: str, *subset: str, split: str) -> Rows:
        asked.append((name, *subset, split))
        return Rows(published_sets.dynamath(4) if "Dyna" in name else published_sets.mmmu_pro_vision())

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    import_set(KNOWN_SETS["mmmu_pro"], None, tmp_path / "mmmu_pro.parquet")
    done = import_set(KNOWN_SETS["dynamath"], None, tmp_path / "dynamath.parquet")
    assert asked[0] == ("MMMU/MMMU_Pro", "vision", "test")
    assert asked[1:] == [("DynaMath/DynaMath_Sample", f"sample_variant{n}") for n in range(1, 11)]
    assert done.origin.num_rows == 30
    assert read_labels(tmp_path / "dynamath.parquet")["dynamath/29"].row_id == "3-10"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mathvers", "SOURCE"], "did you mean 'mathverse'?"),
        (["mathvision", "SOURCE"], "must have a column 'decoded_image' to be read as MathVision, got"),
        (["geometry3k", "nowhere.parquet"], "SOURCE must be an existing file, got 'nowhere.parquet'"),
        (["geometry3k", "notes.txt"], "SOURCE must be hub:NAME, a folder or a file ending in"),
        (["geometry3k", "SOURCE", "--split", "test"], "--split: must be left out where SOURCE is a file"),
        (["geometry3k", "FOLDER"], "must hold data files of the split 'test', got train-0.parquet"),
        (["geometry3k", "SOURCE", "--output", "there.parquet"], "there.parquet must be new: choose another"),
        (["geometry3k", "SOURCE", "--output", "out.csv"], "--output: must be a file ending in .parquet"),
        (["geometry3k", "SOURCE", "--output", "no/out.parquet"], "--output: the folder no must exist"),
    ],
)
def test_a_wrong_call_is_told_and_leaves_nothing(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{**row, "question": "?", "image": "path"} for row in published_sets.ready()]
    source = (
        rows if arguments[0] != "mathvision" else [{"id": "1", "question": "?", "image": "x", "options": []}]
    )
    write_parquet(tmp_path / "data/train-0.parquet", source)
    Path("there.parquet").write_text("mine")
    places = {"SOURCE": "data/train-0.parquet", "FOLDER": "data"}
    command = ["data", "import", *(places.get(argument, argument) for argument in arguments)]
    if "--output" not in command:
        command += ["--output", "out.parquet"]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, Path("out.parquet").exists()) == (2, False)
    assert words in result.stderr
    assert Path("there.parquet").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_a_set_of_which_nothing_can_be_used_is_refused_with_the_reasons(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "t.parquet", [{**row, "answer": ""} for row in published_sets.ready()])
    output = tmp_path / "geometry3k.parquet"
    with pytest.raises(
        ConfigError, match="no row could be used\n3 left out, missing_answer; the first: prompt t/0"
    ):
        import_set(KNOWN_SETS["geometry3k"], str(source), output)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_the_command_tells_what_it_wrote_and_what_it_left(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "testmini.parquet", published_sets.mathverse())
    output = tmp_path / "mathverse.parquet"
    result = CliRunner().invoke(app, ["data", "import", "MathVerse", str(source), "--output", str(output)])
    assert result.exit_code == 0, result.stderr
    assert "rows written                5\n" in result.stdout
    assert "left out, free_form_answer  5\n" in result.stdout
    assert known_set("Math-Verse") is KNOWN_SETS["mathverse"]


def test_labels_of_another_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a file that `pgpo-async data import` wrote"):
        read_labels(write_parquet(tmp_path / "other.parquet", published_sets.ready()))


def test_markers_and_choices_read_as_people_write_them() -> None:
    assert numbered_images("no marker", ["a", "b"]) == ("no marker", ["a", "b"])
    assert numbered_images("<image_2> then <Image 1>", ["a", "b"]) == ("<image> then <image>", ["b", "a"])
    assert numbered_images("only <image 2>", ["a", "b"]) == ("<image>\nonly <image>", ["a", "b"])
    assert split_choices("A. 1/2;B. Point A. is left; C. 3") == ["1/2", "Point A. is left", "3"]
    assert split_choices("(A) red (B) blue") == ["red", "blue"]
    assert split_choices("yes or no") is None
    assert split_choices("B. 1; C. 2") is None
    assert with_choices("Q? ", ["x", " y"]) == "Q?\nA. x\nB. y"
