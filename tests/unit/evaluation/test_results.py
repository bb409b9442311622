"""Rows and averages of an evaluation, by hand."""

import math

import pytest
from rich.console import Console

from pgpo_async.evaluation.answer_file import Answered
from pgpo_async.evaluation.results import Labels, benchmark_result, results_json, results_table


def answered(*accuracies, cut=0):
    return Answered(accuracies=accuracies, num_tokens=(10,) * len(accuracies), num_cut=cut)


FOUR = {
    "m/0": answered(1.0, 1.0, 1.0, 1.0),
    "m/1": answered(1.0, 0.0, 0.0, 0.0, cut=2),
    "m/2": answered(0.0, 0.0, 0.0, 0.0),
    "m/3": answered(1.0, 1.0, 0.0, 0.0),
}


def test_avg_and_pass_at_k_are_means_over_prompts():
    found = benchmark_result("m", "M", FOUR, ["no_image", "no_image", "reward_timeout"])
    assert found.accuracy.mean == pytest.approx((1 + 0.25 + 0 + 0.5) / 4)
    assert found.pass_at[1].mean == pytest.approx(found.accuracy.mean)
    assert found.pass_at[2].mean == pytest.approx((1 + 0.5 + 0 + 5 / 6) / 4)
    assert found.pass_at[4].mean == pytest.approx(3 / 4)
    assert list(found.pass_at) == [1, 2, 4]
    assert (found.num_prompts, found.failures) == (4, {"no_image": 2, "reward_timeout": 1})
    assert (found.mean_tokens, found.cut_share) == (10.0, 2 / 16)


def test_pass_at_k_has_the_powers_of_two_and_k_itself():
    found = benchmark_result("m", "M", {"a": answered(*[1.0] * 6), "b": answered(*[0.0] * 6)})
    assert list(found.pass_at) == [1, 2, 4, 6]


def test_categories_have_rows_of_their_own_and_groups_widen_the_interval():
    labels = Labels(categories={"m/0": "algebra", "m/1": "algebra", "m/3": "solids"})
    assert benchmark_result("m", "M", FOUR, (), labels).categories == {
        "algebra": (0.625, 2),
        "solids": (0.5, 1),
    }
    doubled = FOUR | {f"{prompt}'": found for prompt, found in FOUR.items()}
    together = Labels(groups={prompt: prompt.rstrip("'") for prompt in doubled})
    alone = benchmark_result("m", "M", FOUR)
    assert benchmark_result("m", "M", doubled, (), together).accuracy == alone.accuracy


def test_order_of_the_answers_changes_no_bit():
    first = benchmark_result("m", "M", FOUR)
    assert benchmark_result("m", "M", dict(reversed(FOUR.items()))) == first


def test_the_average_is_in_json_and_table():
    rows = [
        benchmark_result("m", "M", FOUR, ["no_image"]),
        benchmark_result("n", "N", {"n/0": answered(1.0, 1.0, 1.0, 1.0), "n/1": answered(*[1.0] * 4)}),
    ]
    told = results_json(rows)
    assert told["average"]["accuracy"] == pytest.approx((0.4375 + 1.0) / 2)
    assert told["benchmarks"]["m"]["num_failed"] == 1
    console = Console(width=100, record=True)
    console.print(results_table(rows, title="t"))
    text = console.export_text()
    assert "43.75" in text
    assert "71.88" in text
    assert "4 (+1 failed)" in text
    assert "avg@4" in text
    assert not math.isnan(told["average"]["standard_error"])


def test_a_benchmark_without_an_answer_is_refused_with_the_reasons():
    with pytest.raises(ValueError, match=r"m: .* got none \(\{'no_image': 2\}\)"):
        benchmark_result("m", "M", {}, ["no_image", "no_image"])
