"""`bench data` and `bench verify` end to end, in small."""

import json

from typer.testing import CliRunner

from pgpo_async.cli import app


def run(path, *options):
    done = CliRunner().invoke(app, ["bench", *options, "--json", str(path)])
    assert done.exit_code == 0, done.output
    return done.output, json.loads(path.read_text())


def test_images_are_drawn_and_cut_into_as_many_tokens_as_their_size_says(tmp_path):
    said, figures = run(tmp_path / "f.json", "data", "--rows", "6", "--width", "560", "--height", "392")
    assert figures["image_tokens"] == (560 // 28) * (392 // 28)
    assert figures["file_bytes"] > 6 * 1000
    assert min(figures[name] for name in ("rows_per_s", "images_per_s", "images_per_s_threads")) > 0
    assert "6 rows, a JPEG of 560 x 392 each (280 image tokens)" in said


def test_every_kind_of_answer_has_its_rate(tmp_path):
    said, figures = run(tmp_path / "f.json", "verify", "--seconds", "0.1", "--processes", "1")
    rates = {name: value for name, value in figures.items() if name.endswith("_per_s")}
    assert set(rates) == {f"{kind}_per_s" for kind in ("numbers", "choices", "words", "units", "maths")}
    assert min(rates.values()) > 0
    assert "1 processes" in said
