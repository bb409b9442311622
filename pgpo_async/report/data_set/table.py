"""The figures of a data set as lines for a terminal. Called by `command`."""

from collections.abc import Mapping
from typing import Any

from pgpo_async.report.formats import count, plural, size

MAX_COLUMNS = 12


def table(found: Mapping[str, Any]) -> str:
    """Return the lines: a name, and what was found."""
    checked = found["num_rows_checked"]
    whole = found["num_rows"]
    rows = (
        f"{checked:,}"
        if whole == checked
        else f"{checked:,} of {'no end' if whole is None else f'{whole:,}'}"
    )
    lines = [("source", found["source"]), ("rows", rows)]
    columns = [f"{name} ({kind})" for name, kind in list(found["columns"].items())[:MAX_COLUMNS]]
    lines += [("columns" if number == 0 else "", text) for number, text in enumerate(columns)]
    lines.append(("usable", f"{checked - found['num_unusable']:,}"))
    lines += [
        (f"unusable: {reason}", f"{one['count']:,}, the first: {one['error']}")
        for reason, one in found["unusable"].items()
    ]
    images = ", ".join(f"{number}: {rows:,}" for number, rows in found["images_a_row"].items())
    lines.append(("images a row", images or "none readable"))
    if found["width"] is not None:
        lines += [
            ("image width", _spread(found["width"])),
            ("image height", _spread(found["height"])),
            ("image bytes", f"{size(found['image_bytes'])} in all"),
        ]
    lines += [("prompt tokens", line) for line in _tokens(found, "prompt_tokens")]
    lines += [("image tokens", line) for line in _tokens(found, "image_tokens")]
    lines.append(
        ("answers", ", ".join(f"{kind}: {num:,}" for kind, num in found["answers"].items()) or "none")
    )
    lines += _repeated(found)
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{text}" for name, text in lines)


def _tokens(found: Mapping[str, Any], name: str) -> list[str]:
    if found.get(name) is None:
        return []
    limit = f"; at most {found['max_prompt_tokens']:,} are taken" if name == "prompt_tokens" else ""
    return [f"{_spread(found[name])}{limit}"]


def _repeated(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [
        ("duplicates", f"{plural(found['num_duplicates'], 'row')} with images and question of an earlier one")
    ]
    if found["num_contradictions"]:
        lines.append(("", f"{found['num_contradictions']:,} of them with another answer"))
    if found["num_rows_with_known_image"]:
        lines.append(
            (
                "images again",
                f"{plural(found['num_rows_with_known_image'], 'row')} with an earlier row's image",
            )
        )
    other = found.get("against")
    if other is not None:
        lines.append(
            (
                "in both",
                f"{other['num_by_image']:,} by image, {other['num_by_question']:,} by question, "
                f"{other['num_by_both']:,} by both, of {other['num_rows']:,} rows of {other['source']}",
            )
        )
        lines += [("", f"{pair['row']} = {pair['other']}") for pair in other["examples"][:3]]
    return lines


def _spread(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count(value)}" for name, value in values.items())
