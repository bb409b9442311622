"""What a config says of its prompt sources: one or several, their weights, their columns."""

from pathlib import Path

import pytest

from pgpo_async.config import load_config
from pgpo_async.config.dump import dump_config
from pgpo_async.contracts import ConfigError

WRONG = [
    (
        "data: {source: a.jsonl, sources: [{source: b.jsonl}]}",
        "data.source: must be given, or else data.sources, and not both, got 'a.jsonl' and 1 sources",
    ),
    (
        "data: {source: ''}",
        "data.source: must be given, or else data.sources, and not both, got '' and 0 sources",
    ),
    ("data: {sources: [{weight: 2}]}", "data.sources[0].source: must not be empty, got ''"),
    ("data: {sources: [{source: a, weight: 0}]}", "data.sources[0].weight: must be above 0, got 0"),
    (
        "data: {sources: [{source: a, weight: 1}, {source: b, weight: 1e-7}]}",
        "data.sources[1].weight: must be at least 0.0001 of the weights' sum (1), got 1e-07",
    ),
    (
        "data: {sources: [{source: a, wieght: 1}]}",
        "data.sources[0]: must have no keys but `source`, `weight`, `columns`: `wieght` "
        "(did you mean `weight`?), got a mapping",
    ),
    (
        "data: {sources: [{source: a, columns: {image: b}}]}",
        "data.sources[0].columns: must have no keys but `images`, `problem`, `answer`: `image` "
        "(did you mean `images`?), got a mapping",
    ),
    (
        "data: {columns: {image: b}}",
        "data.columns: must have no keys but `images`, `problem`, `answer`: `image` "
        "(did you mean `images`?), got a mapping",
    ),
    ("data: {columns: {answer: ' '}}", "data.columns.answer: must not be empty, got ' '"),
    ("data: {sources: a.jsonl}", "data.sources: must be a list, got 'a.jsonl' (a string)"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_what_cannot_be_meant_is_told_at_its_field(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    (issue,) = caught.value.issues
    assert issue.partition(": ")[2] == expected


def test_several_sources_displace_the_default_and_are_read_back_as_written(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "data: {sources: [{source: a, weight: 2}, {source: b, columns: {problem: q}}]}"
    )
    config = load_config(tmp_path / "c.yaml")
    assert config.data.source == ""
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config
