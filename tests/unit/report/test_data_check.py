"""Checking a data set: what is counted, what is compared, the table, the figures and the page."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.published_sets import png, stored, write_parquet
from typer.testing import CliRunner

from pgpo_async.cli import app
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import PromptError
from pgpo_async.data.checking import scan as scanning
from pgpo_async.data.checking.findings import spread
from pgpo_async.data.checking.row_facts import RowReading
from pgpo_async.data.checking.scan import scan
from pgpo_async.data.sources import open_source
from pgpo_async.report.data_set.figures import histogram
from pgpo_async.rewards.answer_kind import answer_kind


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {"images": [stored(number)], "problem": f"How many, {number}?", "answer": str(number)} | changes


def checked(path: Path, *options: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """The figures of one source, and what was printed."""
    figures = path.parent / "figures.json"
    command = ["data", "check", str(path), "--json", str(figures), *options]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == code, result.output
    (found,) = json.loads(figures.read_text())["sources"]
    return found, result.stdout


def bmp(number: int) -> dict[str, Any]:
    """The picture of `png(number)` in another format."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(number))).save(buffer, format="BMP")
    return {"bytes": buffer.getvalue(), "path": None}


def test_rows_are_counted_with_the_reasons_of_the_quarantine(tmp_path: Path) -> None:
    rows = [
        row(0),
        row(1, answer=""),
        row(2, images=[{"bytes": b"?", "path": None}]),
        row(3, images=[]),
        row(4, problem="<image><image> two markers?"),
        row(5, problem="a word " * 600),
    ]
    path = write_parquet(tmp_path / "set.parquet", rows)
    found, printed = checked(path, "--model", "builtin:tiny-vlm", "--max-prompt-tokens", "512")
    reasons = {reason: one["count"] for reason, one in found["unusable"].items()}
    assert reasons == {
        "missing_answer": 1,
        "corrupt_image": 1,
        "image_marker_mismatch": 1,
        "prompt_too_long": 1,
    }
    assert (found["num_rows"], found["num_unusable"], found["num_text_only"]) == (6, 4, 1)
    assert found["prompt_tokens"]["max"] > 512
    source = open_source(str(path), split="train", seed=0)
    with pytest.raises(PromptError) as refused:
        [source.prompt(index) for index in range(6)]
    assert refused.value.reason in reasons
    assert "unusable: missing_answer" in printed


def test_without_a_model_nothing_is_said_of_tokens(tmp_path: Path) -> None:
    found, printed = checked(write_parquet(tmp_path / "set.parquet", [row(0), row(1)]))
    assert "prompt_tokens" not in found
    assert "tokens" not in printed
    assert found["columns"]["answer"] == "string"
    assert (found["width"]["min"], found["width"]["max"], found["height"]["median"]) == (12, 13, 8)


def test_image_tokens_are_the_models(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "set.parquet", [row(number) for number in range(3)])
    found, _ = checked(path, "--model", "builtin:tiny-vlm")
    assert found["image_tokens"] == dict.fromkeys(("min", "median", "p90", "p99", "max"), 6)


def test_duplicates_are_found_through_file_formats_and_case_and_contradictions_told(tmp_path: Path) -> None:
    rows = [
        row(0),
        row(1),
        row(0, images=[bmp(0)], problem="  how MANY,  0?"),
        row(1, answer="7"),
        row(9, images=[stored(1)]),
    ]
    path = write_parquet(tmp_path / "set.parquet", rows)
    found, printed = checked(path)
    assert found["duplicates"] == [
        {"row": "set/2", "other": "set/0"},
        {"row": "set/3", "other": "set/1"},
    ]
    assert (found["num_duplicates"], found["num_contradictions"]) == (2, 1)
    assert (found["num_rows_with_known_image"], found["num_distinct_images"]) == (3, 2)
    assert "1 of them with another answer" in printed


def test_rows_of_another_source_are_found_by_image_and_by_question(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "train.parquet", [row(number) for number in range(6)])
    test = [row(0, images=[bmp(0)]), row(1, images=[stored(91)]), row(92, images=[stored(2)]), row(93)]
    against = write_parquet(tmp_path / "test.parquet", test)
    found, _ = checked(path, "--against", str(against))
    other = found["against"]
    assert (other["num_by_image"], other["num_by_question"], other["num_by_both"]) == (2, 2, 1)
    assert other["num_rows"] == 4
    assert [(pair["row"], pair["other"]) for pair in other["examples"]] == [
        ("train/0", "test/0"),
        ("train/1", "test/1"),
        ("train/2", "test/2"),
    ]


@pytest.mark.parametrize(
    ("rows", "options", "code"),
    [
        ([row(0), row(1)], ["--strict"], 0),
        ([row(0), row(1, answer="")], [], 0),
        ([row(0), row(1, answer="")], ["--strict"], 1),
        ([row(0), row(0, answer="9")], ["--strict"], 1),
        ([row(0, answer=""), row(1, answer="")], [], 1),
    ],
    ids=["all is well", "told only", "unusable", "contradiction", "nothing is usable"],
)
def test_the_exit_code_says_whether_a_row_needs_attention(
    rows: list[dict[str, Any]], options: list[str], code: int, tmp_path: Path
) -> None:
    checked(write_parquet(tmp_path / "set.parquet", rows), *options, code=code)


def test_several_processes_find_the_same_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(number, answer="" if number % 40 == 7 else "1") for number in range(150)]
    source = open_source(str(write_parquet(tmp_path / "set.parquet", rows)), split="train", seed=0)
    reading = RowReading(source=source, config=RunConfig(), with_model=False, kind_of=answer_kind)
    alone = list(scan(reading, 150, num_processes=1))
    monkeypatch.setattr(scanning, "MIN_ROWS_FOR_PROCESSES", 1)
    assert list(scan(reading, 150, num_processes=2)) == alone
    assert [facts.number for facts in alone if facts.reason] == [7, 47, 87, 127]


def test_the_page_shows_rows_escapes_them_and_loads_nothing(tmp_path: Path) -> None:
    rows = [row(0, problem="<script>alert(1)</script>?"), row(1, answer=""), row(2)]
    path = write_parquet(tmp_path / "set.parquet", rows)
    checked(path, "--html", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert page.count('src="data:image/') == 2
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert "answer must not be empty" in page


def test_a_config_s_sources_are_all_looked_at(tmp_path: Path) -> None:
    parts = [write_parquet(tmp_path / f"{name}.parquet", [row(0), row(1)]) for name in ("one", "two")]
    config = tmp_path / "run.yaml"
    sources = [{"source": str(path)} for path in parts]
    config.write_text(json.dumps({"data": {"sources": sources}}))
    result = CliRunner().invoke(
        app, ["data", "check", "--config", str(config), "--html", str(tmp_path / "p.html")]
    )
    assert result.exit_code == 0, result.output
    assert re.findall(r"source +(\w+\.parquet)", result.stdout) == ["one.parquet", "two.parquet"]
    assert "at most 4,096 are taken" in result.stdout


def test_an_endless_source_and_a_limit_are_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "check", "builtin:shapes", "--limit", "6"])
    assert result.exit_code == 0, result.output
    assert "6 of no end" in result.stdout
    path = write_parquet(tmp_path / "set.parquet", [row(number) for number in range(5)])
    found, printed = checked(path, "--limit", "3")
    assert (found["num_rows_checked"], found["num_rows"]) == (3, 5)
    assert "3 of 5" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "SOURCE must be given, or the config of a run"),
        (["nowhere.parquet"], "must be an existing file, got 'nowhere.parquet'"),
        (["set.parquet", "--columns", "images=picture"], "must have a column 'picture'"),
        (["set.parquet", "--columns", "image=picture"], "--columns: must be NAME=COLUMN,..."),
        (["set.parquet", "--against", "builtin:shape"], "a built-in source must be"),
        (["set.parquet", "--json", "no/f.json"], "--json: the folder no must exist"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_why(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(tmp_path / "set.parquet", [row(0)])
    result = CliRunner().invoke(app, ["data", "check", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


def test_other_names_of_columns_are_read(tmp_path: Path) -> None:
    rows = [{"picture": stored(0), "problem": "?", "answer": 1}]
    found, _ = checked(write_parquet(tmp_path / "set.parquet", rows), "--columns", "images=picture")
    assert found["images_a_row"] == {"1": 1}


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("B", "choice"),
        ("A, C", "several choices"),
        ("\\boxed{D}", "choice"),
        ("Yes", "yes or no"),
        ("12", "number"),
        ("1/2", "number"),
        ("3.5 cm", "number with a unit"),
        ("\\sqrt{2}", "mathematics"),
        ("the red one", "text"),
    ],
)
def test_answers_are_sorted_as_the_reward_compares_them(reference: str, kind: str) -> None:
    assert answer_kind(reference) == kind


def test_distributions_of_nothing_and_of_one_value() -> None:
    import numpy as np

    assert spread(np.array([])) is None
    assert histogram(np.array([])) == []
    assert histogram(np.array([5, 5])) == [(5.0, 5.0, 2)]
    values = np.array([1, 3, 900, 1000])
    assert sum(bar[2] for bar in histogram(values)) == len(values)
