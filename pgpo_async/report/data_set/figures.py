"""What a check found as plain figures, which `--json` writes and table and page show."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pgpo_async.contracts import ConfigError
from pgpo_async.data.checking.findings import Findings, Overlap, spread
from pgpo_async.data.checking.row_facts import RowReading
from pgpo_async.metrics.strict_json import strict

NUM_BARS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """One source that was looked at. `num_rows` is what it has, None if it has no end."""

    name: str
    reading: RowReading
    columns: Mapping[str, str]
    num_rows: int | None
    findings: Findings
    overlap: Overlap | None
    against: str


def figures(checked: Checked) -> dict[str, Any]:
    """Return the figures of a source; see the README for their meaning."""
    found = checked.findings
    widths, heights = np.asarray(found.widths), np.asarray(found.heights)
    answer: dict[str, Any] = {
        "source": checked.name,
        "num_rows": checked.num_rows,
        "num_rows_checked": found.num_rows,
        "num_unusable": found.num_unusable,
        "unusable": {
            reason: {"count": count, "row": found.errors[reason][0], "error": found.errors[reason][1]}
            for reason, count in found.reasons.most_common()
        },
        "columns": dict(checked.columns),
        "images_a_row": {str(number): count for number, count in sorted(found.images_a_row.items())},
        "num_text_only": found.num_text_only,
        "image_bytes": found.num_image_bytes,
        "width": spread(widths),
        "height": spread(heights),
        "pixels": spread(widths.astype(np.int64) * heights),
        "pixels_histogram": histogram(widths.astype(np.int64) * heights),
        "answers": dict(found.answer_kinds.most_common()),
        "num_duplicates": found.num_duplicates,
        "num_contradictions": found.num_contradictions,
        "duplicates": [asdict(pair) for pair in found.duplicates],
        "num_distinct_images": found.num_distinct_images,
        "num_rows_with_known_image": found.num_rows_with_known_image,
    }
    if checked.reading.with_model:
        answer |= {
            "model": checked.reading.config.model.path,
            "max_prompt_tokens": checked.reading.config.data.max_prompt_tokens,
            "prompt_tokens": spread(found.prompt_tokens),
            "prompt_tokens_histogram": histogram(np.asarray(found.prompt_tokens)),
            "image_tokens": spread(found.image_tokens),
        }
    if checked.overlap is not None:
        answer["against"] = {
            "source": checked.against,
            "num_rows": checked.overlap.num_rows,
            "num_by_image": checked.overlap.num_by_image,
            "num_by_question": checked.overlap.num_by_question,
            "num_by_both": checked.overlap.num_by_both,
            "examples": [asdict(pair) for pair in checked.overlap.examples],
        }
    return answer


def write_figures(path: Path, all_figures: Sequence[Mapping[str, Any]]) -> None:
    """Write the figures of each source. Raises ConfigError where that cannot be."""
    written = json.dumps({"sources": strict(list(all_figures))}, allow_nan=False, indent=2)
    try:
        path.write_text(written + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--json: {path} cannot be written: {error.strerror}") from error


def histogram(values: Any) -> list[tuple[float, float, int]]:
    """Return (from, to, count) of values above 0, in steps of equal ratio where they span a lot."""
    positive = values[values > 0]
    if not len(positive):
        return []
    low, high = float(positive.min()), float(positive.max())
    if low == high:
        return [(low, high, len(positive))]
    space = np.geomspace if high > 8 * low else np.linspace
    edges = space(low, high, NUM_BARS + 1)
    edges[0], edges[-1] = low, high  # rounding must not leave one out
    counts, _ = np.histogram(positive, bins=edges)
    bars = zip(edges[:-1], edges[1:], counts, strict=True)
    return [(float(left), float(right), int(count)) for left, right, count in bars]


def needs_attention(all_figures: Sequence[Mapping[str, Any]]) -> bool:
    """Whether `--strict` ends with 1: a row is unusable, contradicts another, or is in the other source."""
    return any(
        one["num_unusable"]
        or one["num_contradictions"]
        or one.get("against", {}).get("num_by_image")
        or one.get("against", {}).get("num_by_question")
        for one in all_figures
    )
