"""A token page as one HTML file: what stays as markup, what can be switched as data for its script.

Owns the form of the data. Texts of prompts and responses go into the page as JSON alone, which the script
writes as text. The look is `style`'s, what happens in the browser `script`'s. Called by
`command`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pgpo_async.contracts import Rollout, content_hash
from pgpo_async.report.html_parts import data_block, data_uri, document, text
from pgpo_async.report.tokens.scales import Scale, page_scale
from pgpo_async.report.tokens.script import SCRIPT
from pgpo_async.report.tokens.style import STYLE
from pgpo_async.report.tokens.values import QUANTITIES, GroupValues, Quantity, mean_known
from pgpo_async.report.tokens.view import GroupView, TokensView

MAX_IMAGE_PX = 480
DATA_ID = "token-data"


def token_page(view: TokensView) -> str:
    """Return the whole file."""
    body = f"""<main>
<header>
<h1>{text(view.title)}</h1>
<p class="muted facts">{_facts(view)}</p>
{_notes(view)}
<noscript><p class="note">A script colours the tokens, and scripts are switched off here.</p></noscript>
</header>
{_BAR.replace("QUANTITIES", _buttons(view))}
{_REST}
</main>
{data_block(DATA_ID, page_data(view))}"""
    return document(view.title, body, style=STYLE, script=SCRIPT)


def page_data(view: TokensView) -> dict[str, Any]:
    """What the script reads: quantities with their scales, images by content, groups with their tokens."""
    images: dict[str, str | None] = {}
    groups = [_group(group, images) for group in view.groups]
    values = [group.values for group in view.groups]
    return {
        "quantities": [
            {
                "key": quantity.key,
                "label": quantity.label,
                "unit": quantity.unit,
                "about": quantity.about,
                "scale": _scale(page_scale(quantity.key, values)),
            }
            for quantity in QUANTITIES
        ],
        "images": images,
        "groups": groups,
        "start": _start(view),
    }


def numbers(row: Sequence[float] | np.ndarray[Any, Any]) -> list[float | int | None]:
    """Six significant digits of each value, None for what is not known."""
    return [_number(float(value)) for value in row]


def _number(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short == int(short) else short


def _scale(scale: Scale) -> dict[str, Any]:
    return {
        "edges": [_number(edge) for edge in scale.edges],
        "colours": list(scale.colours),
        "labels": [list(label) for label in scale.labels],
        "bySize": scale.by_size,
        "centre": _number(scale.centre),
    }


def _group(view: GroupView, images: dict[str, str | None]) -> dict[str, Any]:
    group, values = view.scored.group, view.values
    prompt = group.prompt
    for data in prompt.images:
        key = content_hash(data)
        if key not in images:
            images[key] = _image(data)
    rewards = [rollout.reward for rollout in group.rollouts]
    return {
        "name": group.group_id,
        "label": _label(view),
        "step": view.step,
        "question": prompt.question,
        "answer": prompt.answer or None,
        "images": [content_hash(data) for data in prompt.images],
        "missing": dict(values.missing),
        "rewarded": view.rewarded,
        "meanReward": _number(sum(rewards) / len(rewards)) if rewards and view.rewarded else None,
        "meanDependency": _number(values.mean_dependency),
        "boostedShare": _number(values.boosted_share),
        "tau": values.tau,
        "responses": [_response(view, place) for place in range(len(group.rollouts))],
    }


def _response(view: GroupView, place: int) -> dict[str, Any]:
    rollout, values = view.scored.group.rollouts[place], view.values
    rewarded = view.rewarded
    return {
        "pieces": list(view.pieces[place]),
        "special": list(view.special[place]),
        "ids": rollout.response_token_ids.tolist(),
        "logprobs": numbers(_logprobs(view, place)),
        "values": {key: numbers(rows[place]) for key, rows in values.rows.items()},
        "capped": np.flatnonzero(values.capped[place]).tolist(),
        "spans": [[span.version, span.start, span.end] for span in rollout.version_spans],
        "truncated": rollout.truncated,
        "reward": _number(rollout.reward) if rewarded else None,
        "parts": {name: _number(part) for name, part in rollout.reward_parts.items()} if rewarded else {},
        "right": _right(rollout) if rewarded else None,
        "advantage": _number(values.advantages[place]) if values.advantages else None,
        "meanDependency": _number(_mean(values, "dependency", place)),
    }


def _logprobs(view: GroupView, place: int) -> np.ndarray[Any, Any]:
    """What the token was sampled with; where nobody noted it, what the measuring pass says."""
    behaviour = view.scored.group.rollouts[place].behaviour_logprobs
    return np.where(np.isfinite(behaviour), behaviour, view.scored.proximal_logprobs[place])


def _mean(values: GroupValues, key: str, place: int) -> float | None:
    return mean_known((values.rows[key][place],)) if key in values.rows else None


def _right(rollout: Rollout) -> bool | None:
    """Whether the answer is right; None where no part of the reward says so."""
    return {1.0: True, 0.0: False}.get(rollout.reward_parts.get("accuracy", math.nan))


def _image(data: bytes) -> str | None:
    try:
        return data_uri(data, MAX_IMAGE_PX)
    except ValueError:
        return None


def _label(view: GroupView) -> str:
    group = view.scored.group
    parts = [] if view.step is None else [f"step {view.step}"]
    if view.rewarded and group.rollouts:
        parts.append(f"reward {sum(r.reward for r in group.rollouts) / len(group.rollouts):.2f}")
    question = " ".join(group.prompt.question.split())
    parts.append(question if len(question) <= 60 else question[:59] + "\u2026")
    return " \u00b7 ".join(parts)


def _start(view: TokensView) -> int:
    """The group to begin with: the first of the newest step."""
    steps = [group.step or 0 for group in view.groups]
    return steps.index(max(steps))


def _facts(view: TokensView) -> str:
    told = [f"{text(name)} <b>{text(value)}</b>" for name, value in view.facts]
    return " \u00b7 ".join([*told, text(view.counts)])


def _notes(view: TokensView) -> str:
    return "\n".join(f'<p class="note">{text(note)}</p>' for note in view.notes)


def _buttons(view: TokensView) -> str:
    return "\n".join(_button(view, quantity, number) for number, quantity in enumerate(QUANTITIES, start=1))


def _button(view: TokensView, quantity: Quantity, number: int) -> str:
    known = any(quantity.key in group.values.rows for group in view.groups)
    reasons = [group.values.missing.get(quantity.key, "") for group in view.groups]
    title = quantity.about if known else f"Not known: {reasons[0]}"
    state = "" if known else ' aria-disabled="true"'
    return (
        f'<button type="button" data-key="{quantity.key}" aria-pressed="false"{state} title="{text(title)}">'
        f"<kbd>{number}</kbd> {text(quantity.label)}</button>"
    )


_BAR = """<div class="bar">
<div class="pick" id="pick">
<button type="button" id="previous" aria-label="Previous group">&#9664;</button>
<select id="group" aria-label="Group"></select>
<button type="button" id="next" aria-label="Next group">&#9654;</button>
</div>
<div class="quantities" role="group" aria-label="Colour tokens by">
QUANTITIES
</div>
<button type="button" id="stack" aria-pressed="false">stacked</button>
<div class="legend"><div id="scale" role="img"></div><p id="about"></p></div>
</div>"""

_REST = """<div class="view">
<aside>
<section class="card"><h2 class="spoken">Prompt</h2><div id="images"></div><div id="prompt"></div></section>
<section class="card"><h2>Group</h2><dl id="summary"></dl></section>
<section class="card later"><h2>Top tokens</h2><p class="muted" id="top-about"></p><ol id="top"></ol>
</section>
<p class="muted keys later">Keys <kbd>1</kbd> to <kbd>6</kbd> choose the colours. In a response the arrow keys
go from token to token, <kbd>Esc</kbd> hides the values.</p>
</aside>
<div id="responses" aria-label="Responses"></div>
</div>
<div id="readout" role="status" hidden></div>"""
