"""The four files, as a reader and as another program meet them."""

import json
import math
import struct
from html.parser import HTMLParser

import pytest
from rich.console import Console

from pgpo_async.compare.plots import DOTS_PER_INCH, PANELS, SIZE_INCHES, draw, joined, svg
from pgpo_async.compare.report import write_report
from pgpo_async.compare.results import results_of
from pgpo_async.compare.table import heading, markdown, notes, rows
from pgpo_async.config import CompareConfig

VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Checks that tags close in order; keeps texts, tags and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def cells(results, label):
    return next(row[1:] for row in rows(results) if row[0] == label)


def test_four_files_are_written_and_nothing_half_written_stays(folder):
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["plots.png", "report.html", "results.json", "table.md"]


def test_the_rows_show_means_errors_and_paired_differences(compare, runs):
    results = results_of(compare, runs)
    assert heading(results) == ("", "grpo", "pgpo")
    assert cells(results, "runs finished") == ("2 of 2", "2 of 2")
    assert cells(results, "held-out accuracy after") == ("0.600 ± 0.100", "0.750 ± 0.150")
    assert cells(results, "less grpo: held-out accuracy after") == ("", "+0.150 ± 0.050 (2)")
    assert cells(results, "gradient variance by unshaped, geometric mean") == ("2.000 ± 0.000",) * 2
    assert cells(results, "steps to training accuracy 0.750") == ("reached by 0 of 2",) * 2


def test_a_single_seed_has_no_error_and_says_that_it_tells_nothing_from_noise(compare, runs):
    one = compare.model_copy(update={"seeds": (0,)})
    results = results_of(one, runs[:2])
    assert not any("±" in cell for row in rows(results) for cell in row)
    assert "One seed: nothing here tells a method from noise." in notes(results)
    assert cells(results, "less grpo: held-out accuracy after") == ("", "+0.100 (1)")


def test_what_did_not_finish_is_named_in_every_form(tmp_path, compare, runs):
    table = write_report(tmp_path / "report", compare, runs[:3])
    told = "In no mean, because it did not finish: pgpo, seed 1: missing, 0 steps."
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    console.print(table)
    assert told in console.export_text()
    assert told in (tmp_path / "report" / "table.md").read_text()
    assert told in (tmp_path / "report" / "report.html").read_text()
    pgpo = json.loads((tmp_path / "report" / "results.json").read_text())["methods"][1]
    assert [(run["seed"], run["finished"], run["status"]) for run in pgpo["runs"]] == [
        (0, True, "completed"),
        (1, False, "missing"),
    ]
    assert cells(results_of(compare, runs[:3]), "runs finished") == ("2 of 2", "1 of 2")


def test_a_figure_that_some_runs_lack_tells_of_how_many_it_is(compare, make_run):
    runs = [make_run("grpo", 0, after=None), make_run("grpo", 1, after=0.7)]
    results = results_of(compare, runs)
    assert cells(results, "held-out accuracy after") == ("0.700 (1)", "not measured")


def test_the_json_holds_numbers_or_null_and_never_nan(tmp_path, compare, make_run):
    runs = [make_run("grpo", seed, **{"accuracy": math.nan, "learner/entropy": math.nan}) for seed in (0, 1)]
    write_report(tmp_path, compare, runs)
    text = (tmp_path / "results.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refuse)
    grpo, pgpo = found["methods"]
    assert grpo["figures"]["entropy_end"] is None
    assert grpo["figures"]["accuracy_after"] == {"mean": 0.8, "standard_error": 0.0, "count": 2}
    assert found["target_accuracy"] is None
    assert pgpo["overrides"] == {"data.instruction": "<script>|$x$"}
    assert "pgpo-async" in found["versions"]


def test_the_markdown_is_one_table_whose_lines_have_as_many_cells(compare, runs):
    results = results_of(compare.model_copy(update={"name": "a|b"}), runs)
    text = markdown(results)
    assert text.startswith("# a\\|b\n\n|  | grpo | pgpo |\n| --- | ---: | ---: |\n| runs finished | 2 of 2 |")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {4}
    assert len(lines) == 2 + len(rows(results))


def test_the_page_parses_holds_every_method_and_needs_no_network(folder):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert {"grpo", "pgpo", "0.750 ± 0.150"} <= set(page.texts)
    assert {"html", "svg", "table", "pre"} <= page.tags
    assert page.tags.isdisjoint({"script", "link", "img", "iframe"})
    assert all(link.startswith("#") for link in page.links)


def test_every_text_of_the_user_is_escaped(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "data.instruction=&lt;script&gt;|$x$" in text
    assert "<h1>a &amp; b &lt;c&gt;</h1>" in text


def test_the_plot_is_a_png_of_the_size_that_it_should_have(folder):
    data = (folder / "plots.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    expected = tuple(int(inches * DOTS_PER_INCH) for inches in SIZE_INCHES)
    assert struct.unpack(">II", data[16:24]) == expected
    assert len(data) > 20_000, "six panels with lines are not an empty canvas"


def panel_texts(figure):
    return {axes.get_title(): [text.get_text() for text in axes.texts] for axes in figure.axes}


def test_a_panel_without_data_says_so_and_the_others_do_not(compare, make_run):
    runs = [make_run("grpo", 0, **{"learner/dependency_mean": 0.0})]
    texts = panel_texts(draw(results_of(compare, runs)))
    assert texts.pop("Visual dependency") == ["not measured"]
    assert set(map(tuple, texts.values())) == {()}


def test_without_any_run_all_six_panels_say_so(compare):
    assert list(panel_texts(draw(results_of(compare, []))).values()) == [["not measured"]] * 6


def test_the_legend_tells_how_many_seeds_a_line_is_of(compare, runs):
    (legend,) = draw(results_of(compare, runs[:3])).legends
    assert [text.get_text() for text in legend.get_texts()] == ["grpo (2 of 2 seeds)", "pgpo (1 of 2 seeds)"]


def test_a_band_is_drawn_from_two_seeds_on(compare, runs):
    entropy = draw(results_of(compare, runs[:3])).axes[2]
    assert len(entropy.collections) == 1, "grpo has two seeds, pgpo one"
    assert len(entropy.lines) == (2 + 1) + (1 + 1)


def test_a_run_that_did_not_finish_is_not_drawn(compare, make_run):
    figure = draw(results_of(compare, [make_run("grpo", 0, status="failed")]))
    assert not any(axes.lines for axes in figure.axes)


def test_over_time_the_mean_spans_what_all_seeds_span():
    slow, fast = [(2.0, 0.0), (10.0, 8.0)], [(1.0, 2.0), (6.0, 7.0)]
    bands = joined([slow, fast], PANELS[1])
    assert (bands[0].at, bands[-1].at) == (2.0, 6.0)
    assert bands[0].mean == pytest.approx((0.0 + 3.0) / 2)
    assert bands[-1].mean == pytest.approx((4.0 + 7.0) / 2)
    assert joined([[(1.0, 0.5)], [(2.0, 0.5)]], PANELS[1]) == []


def test_on_a_logarithmic_axis_mean_and_band_are_of_the_logarithms():
    (band,) = joined([[(1, 1.0)], [(1, 100.0)]], PANELS[3])
    assert band.mean == pytest.approx(10.0)
    assert band.spread == (pytest.approx(1.0), pytest.approx(100.0))


def test_the_drawing_is_one_element_and_the_same_each_time(compare, runs):
    results = results_of(compare, runs)
    first, second = svg(draw(results)), svg(draw(results))
    assert first == second
    assert first.startswith("<svg")
    assert first.endswith("</svg>")


def test_many_methods_each_have_a_sign_of_their_own(make_run):
    names = [f"m{number}" for number in range(9)]
    compare = CompareConfig(base="x", seeds=(0,), methods={name: {} for name in names})
    (legend,) = draw(results_of(compare, [make_run(name, 0) for name in names])).legends
    signs = {(line.get_color(), line.get_marker()) for line in legend.get_lines()}
    assert len(signs) == 9
