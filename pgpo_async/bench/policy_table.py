"""The figures of `bench policy` as a table. Called by the command line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.options import Options
from pgpo_async.bench.policy import bench_policy, completed
from pgpo_async.bench.report import measure_and_print


def run_and_print(options: Options, path: Path | None) -> None:
    """Measure and report. Raises ConfigError for options that cannot be measured here."""
    options = completed(options)
    measure_and_print(lambda say: bench_policy(options, say), show, path)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """What it was measured on, then a table."""
    about = ("device", "threads", "dtype", "torch", "transformers")
    yield ", ".join(f"{name} {figures[name]}" for name in about)
    yield f"large matrix product: {figures['matmul_flops_per_s'] / 1e9:,.0f} GFLOP/s, the peak below"
    heading, *rows = table(figures)
    drawn = Table(*heading)
    for row in rows:
        drawn.add_row(*row)
    yield drawn


def table(figures: dict[str, Any]) -> list[Sequence[str]]:
    """Rows of the figures, the first of them a heading."""
    rows: list[Sequence[str]] = [("model", "image tokens", "figure", "ours", "plain", "ratio")]
    for name, sizes in figures["models"].items():
        for images, found in sizes.items():
            seconds, speed, share = found["seconds"], found["response_tokens_per_s"], found["share_of_peak"]

            def row(figure: str, *values: str, at: tuple[str, str] = (name, images)) -> None:
                rows.append((*at, figure, *values, *[""] * (3 - len(values))))

            blind_s, sighted_s = seconds["one blind"], seconds["one sighted"]
            row("one response: blind, sighted", _s(blind_s), _s(sighted_s), _r(found["blind_over_sighted"]))
            ours, plain = seconds["group scored"], seconds["group scored, plain"]
            row("group of 8 scored, both passes", _s(ours), _s(plain), _r(found["group_score_ratio"]))
            ours, plain = seconds["group step"], seconds["group step, plain"]
            row("group of 8, forward and backward", _s(ours), _s(plain), _r(found["group_step_ratio"]))
            row(
                "exact KL, k3",
                _s(seconds["group scored, exact"]),
                _s(seconds["group scored"]),
                _r(found["exact_over_k3"]),
            )
            row("response tokens/s scored", f"{speed['scored']:,.0f}", f"{speed['scored, plain']:,.0f}")
            row("response tokens/s trained", f"{speed['trained']:,.0f}", f"{speed['trained, plain']:,.0f}")
            row("share of peak: sighted, step", f"{share['sighted']:.0%}, {share['step']:.0%}")
            row("step's memory above weights", _gib(found["step_peak_bytes"]))
    at = ("log-probs", "vocabulary 151,936")
    if "head" in figures:
        head = figures["head"]
        time, peak = _r(figures["logprob_time_ratio"]), _r(figures["logprob_peak_ratio"])
        rows.append((*at, "forward and backward", _s(head["sliced_s"]), _s(head["full_s"]), time))
        rows.append((*at, "extra memory", _gib(head["sliced_bytes"]), _gib(head["full_bytes"]), peak))
        if head["liger_s"] is not None:
            beside = (*at, "and liger-kernel's fused loss", _s(head["sliced_s"]), _s(head["liger_s"]))
            rows.append((*beside, _r(head["sliced_s"] / head["liger_s"])))
            beside = (*at, "extra memory", _gib(head["sliced_bytes"]), _gib(head["liger_bytes"]))
            rows.append((*beside, _r(head["sliced_bytes"] / head["liger_bytes"])))
    if "peer" in figures:
        peer = figures["peer"]
        step = ("demo", "9", f"optimizer step, {peer['name']}", _s(peer["ours_s"]), _s(peer["peer_s"]))
        rows.append((*step, _r(figures["peer_step_ratio"])))
    return rows


def _s(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"


def _r(ratio: float) -> str:
    return f"{ratio:.3f}"


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
