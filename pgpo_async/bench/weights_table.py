"""The figures of `bench weights` as a table. Called by the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from pgpo_async.bench.report import Say, figures_table, measure_and_print
from pgpo_async.bench.weights import bench_versions
from pgpo_async.bench.weights_pause import bench_pauses, check_engine

NOTE = (
    "Medians over versions sent as what changed, and over whole ones. publish: pack, encode, hand over (in "
    "this process: Ray's copies are not counted); stage: rebuild and check files in shared memory; load: "
    "from there into a model's tensors. Ratios are by a plain copy of the model's bytes. Copies are of one "
    "thread, deltas of up to four."
)


def run_and_print(
    *,
    gigabytes: float,
    changed: float,
    versions: int,
    full_every: int,
    seed: int,
    engine: bool,
    path: Path | None,
) -> None:
    """Measure and report. Raises ConfigError for what cannot be measured here."""
    if engine:
        check_engine()

    def measure(say: Say) -> dict[str, Any]:
        figures = bench_versions(
            gigabytes=gigabytes, changed=changed, versions=versions, full_every=full_every, seed=seed, say=say
        )
        return figures | (bench_pauses(changed=changed, say=say) if engine else {})

    measure_and_print(measure, show, path)


def show(figures: dict[str, Any]) -> Iterator[str | Table]:
    """What is no time, line by line, then a table."""
    yield from lines(figures)
    yield table(figures)


def lines(figures: dict[str, Any]) -> Iterator[str]:
    """What is no time: sizes, exactness, pauses."""
    yield f"{figures['device']}, torch {figures['torch']}"
    yield (
        f"{figures['versions']} versions of {figures['model_bytes'] / 1e9:.3g} GB bf16, "
        f"{figures['changed']:.1%} changed from one to the next, one in {figures['full_every']} sent whole"
    )
    yield (
        f"bytes sent: {figures['delta_bytes_fraction']:.2%} of the files as what changed, "
        f"{figures['overall_bytes_fraction']:.2%} with the whole ones; "
        f"to the bit: {'yes' if figures['bit_exact'] else 'NO'}"
    )
    if "update_pauses" in figures:
        yield (
            f"{figures['update_pauses']} updates of a vLLM engine with requests in flight "
            f"({figures['update_model_bytes'] / 1e6:.1f} MB float32): sampling stood still for "
            f"{figures['update_pause_p50_s']:.3f} s (median), {figures['update_pause_max_s']:.3f} s (worst); "
            f"{figures['rollouts_with_several_versions']} responses carry several versions; "
            f"to the bit: {'yes' if figures['update_bit_exact'] else 'NO'}"
        )


def table(figures: dict[str, Any]) -> Table:
    """A row for each stage."""
    drawn = figures_table("stage", "what changed", "by a copy", "whole", "by a copy", caption=NOTE)
    for name in ("publish_s", "stage_s", "load_s", "memcpy_s"):
        cells = []
        for seconds, plain in (
            (figures[name], figures["memcpy_s"]),
            (figures[f"full_{name}"], figures["full_memcpy_s"]),
        ):
            cells += [f"{seconds:.3f} s", f"{seconds / plain:.1f}"]
        drawn.add_row(name.removesuffix("_s"), *cells)
    return drawn
