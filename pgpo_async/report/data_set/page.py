"""A data set's page: its figures, and pictures of its rows with their questions and answers.

Every text is the data set's, and hostile until escaped. The page loads nothing from outside. Called by
`command`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.report.data_set.figures import Checked, figures
from pgpo_async.report.data_set.table import table
from pgpo_async.report.formats import count, plural, share, size
from pgpo_async.report.html_parts import document, text
from pgpo_async.report.sample_cards import long_text, thumbnails

NUM_SAMPLES = 24
MAX_REFUSED = 12

_STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(172px, 1fr)); gap: .7rem;
  margin: 1rem 0; }
.tiles div { display: flex; flex-direction: column; padding: .6rem .9rem; }
.tiles dt { color: var(--muted); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.3rem; font-weight: 600; }
.tiles .bad dd { color: var(--bad); }
.bars { display: flex; align-items: flex-end; gap: 2px; height: 120px; margin: .5rem 0 .2rem;
  max-width: 640px; }
.bars i { flex: 1; background: var(--series-1); min-height: 1px; }
.scale { display: flex; justify-content: space-between; max-width: 640px; color: var(--muted);
  font-size: .82rem; }
.rows { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: .8rem; }
.rows img { max-width: 100%; height: auto; border: 1px solid var(--faint); border-radius: 4px; }
.rows dt { color: var(--muted); font-size: .82rem; margin-top: .4rem; }
.rows dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.said { margin: 0; }
td, th { overflow-wrap: anywhere; }
"""


def page(checked: Sequence[Checked]) -> str:
    """Return the page of one or more sources."""
    title = f"Data set {', '.join(one.name for one in checked)}"
    parts = [f"<main><h1>{text(title)}</h1>"]
    for one in checked:
        if len(checked) > 1:
            parts.append(f"<h2>{text(one.name)}</h2>")
        parts += _sections(one)
    return document(title, "".join([*parts, "</main>"]), style=_STYLE)


def _sections(checked: Checked) -> Iterator[str]:
    found = figures(checked)
    yield _tiles(found)
    yield f"<h2>Figures</h2><pre>{text(table(found))}</pre>"
    if found["unusable"]:
        yield "<h2>Rows that cannot be used</h2>" + _rows(
            ("reason", "rows", "first error"),
            [(reason, count(one["count"]), one["error"]) for reason, one in found["unusable"].items()],
        )
    yield _bars("Image areas (pixels)", found["pixels_histogram"])
    yield _bars("Prompt tokens, images included", found.get("prompt_tokens_histogram", []))
    pairs = [("earlier row", pair) for pair in found["duplicates"]]
    pairs += [(found["against"]["source"], pair) for pair in found.get("against", {}).get("examples", [])]
    if pairs:
        yield "<h2>Rows that are there again</h2>" + _rows(
            ("row", "is", "in"), [(pair["row"], pair["other"], where) for where, pair in pairs]
        )
    yield f'<h2>Rows</h2><div class="rows">{"".join(_cards(checked))}</div>'


def _tiles(found: Mapping[str, Any]) -> str:
    checked = found["num_rows_checked"]
    tiles = [
        ("rows", count(checked), ""),
        ("unusable", count(found["num_unusable"]), "bad" if found["num_unusable"] else ""),
        ("text only", count(found["num_text_only"]), ""),
        ("images", size(found["image_bytes"]), ""),
        ("duplicates", share(found["num_duplicates"] / checked if checked else None), ""),
    ]
    if found["num_contradictions"]:
        tiles.append(("of them with another answer", count(found["num_contradictions"]), "bad"))
    if found.get("prompt_tokens"):
        tiles.append(("longest prompt", f"{count(found['prompt_tokens']['max'])} tokens", ""))
    if "against" in found:
        in_both = found["against"]["num_by_image"]
        tiles.append(
            (f"images also in {found['against']['source']}", f"{in_both:,} rows", "bad" if in_both else "")
        )
    cells = (
        f'<div class="card {kind}"><dt>{text(name)}</dt><dd>{text(value)}</dd></div>'
        for name, value, kind in tiles
    )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _bars(title: str, bars: Sequence[tuple[float, float, int]]) -> str:
    if not bars:
        return ""
    most = max(bar[2] for bar in bars)
    drawn = "".join(
        f'<i style="height: {100 * num / most:.1f}%" title="{left:,.0f} to {right:,.0f}: {num:,}"></i>'
        for left, right, num in bars
    )
    ends = f"<span>{bars[0][0]:,.0f}</span><span>{bars[-1][1]:,.0f}</span>"
    return f'<h2>{text(title)}</h2><div class="bars">{drawn}</div><div class="scale">{ends}</div>'


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cards(checked: Checked) -> Iterator[str]:
    """The first row of each reason, then rows evenly spread over the source."""
    findings = checked.findings
    refused = {number: f"{reason}: {error}" for reason, (number, error) in findings.errors.items()}
    for number, why in list(refused.items())[:MAX_REFUSED]:
        yield _card(checked, number, why)
    step = max(findings.num_rows // NUM_SAMPLES, 1)
    for number in range(0, findings.num_rows, step):
        if number not in refused:
            yield _card(checked, number, "")


def _card(checked: Checked, number: int, why: str) -> str:
    try:
        prompt: Prompt | None = checked.reading.prompt(number)
    except PromptError as error:
        prompt, why = error.prompt, why or f"{error.reason}: {error.message}"
    refusal = f"<dt>Cannot be used</dt><dd>{long_text(why)}</dd>" if why else ""
    if prompt is None:
        return f'<article class="card"><strong>row {number:,}</strong><dl>{refusal}</dl></article>'
    return (
        f'<article class="card"><strong>{text(prompt.prompt_id)}</strong> '
        f'<span class="muted">{plural(len(prompt.images), "image")}</span>{thumbnails(prompt.images)}'
        f"<dl>{refusal}<dt>Question</dt><dd>{long_text(prompt.question)}</dd>"
        f"<dt>Answer</dt><dd>{long_text(prompt.answer)}</dd></dl></article>"
    )
