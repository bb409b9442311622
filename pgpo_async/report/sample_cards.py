"""Sampled groups as they are shown: image, question, answer, and each response with its reward.

Every text here is a model's or a data set's, and hostile until escaped. Called by `report_page`; the check of
a data set shows images and texts the same way.
"""

from collections.abc import Mapping, Sequence

from pgpo_async.contracts import ScoredGroup
from pgpo_async.contracts.rollouts import Rollout
from pgpo_async.report.formats import number, plural
from pgpo_async.report.html_parts import data_uri, text
from pgpo_async.report.samples import Sample, Samples

THUMBNAIL_PIXELS = 320
MAX_IMAGES = 4
MAX_URI_CHARACTERS = 150_000
MAX_RESPONSES = 16
SHOWN_CHARACTERS = 700
"""Of a response; more of it unfolds."""
MAX_CHARACTERS = 6000
"""Of a response, a question, an answer: the page stays small."""


def sample_cards(samples: Samples, versions: Mapping[int, int]) -> str:
    """Return the cards, the last steps' first; `versions` are those that each step made."""
    parts = []
    for title, chosen in (("Last sampled step", samples.last), ("First sampled step", samples.first)):
        if chosen:
            steps = sorted({sample.step for sample in chosen})
            told = f"{title}{'s' if len(steps) > 1 else ''}: {', '.join(f'{step:,}' for step in steps)}"
            cards = "".join(_card(sample, versions.get(sample.step)) for sample in chosen)
            parts.append(f'<h3 class="question">{text(told)}</h3><div class="samples">{cards}</div>')
    return "".join(parts)


def _card(sample: Sample, version: int | None) -> str:
    scored = sample.group
    group, prompt = scored.group, scored.group.prompt
    num_right = [_verdict(rollout) for rollout in group.rollouts].count("right")
    facts = [f"mean reward {number(sample.reward)}", f"{num_right} of {len(group.rollouts)} right"]
    if version is not None:
        facts.append(f"lag {_lag(scored, version)}")
    alike = _alike(group.rollouts)
    shown = alike[:MAX_RESPONSES]
    left_out = sum(len(rollouts) for rollouts in alike[MAX_RESPONSES:])
    more = f"<p class='muted'>{plural(left_out, 'more response')} not shown.</p>" if left_out else ""
    return (
        f'<article class="card sample"><header><span class="rank {sample.rank}">{sample.rank}</span> '
        f"<strong>{text(group.group_id)}</strong> "
        f'<span class="muted">step {sample.step:,}, {text(", ".join(facts))}</span></header>'
        f'<div class="prompt">{thumbnails(prompt.images)}'
        f"<dl><dt>Question</dt><dd>{long_text(prompt.question)}</dd>"
        f"<dt>Reference answer</dt><dd>{long_text(prompt.answer)}</dd></dl></div>"
        f'<ol class="responses">{"".join(_response(rollouts) for rollouts in shown)}</ol>{more}</article>'
    )


def _alike(rollouts: Sequence[Rollout]) -> list[list[Rollout]]:
    """Responses of the same text and reward together, best first."""
    found: dict[tuple[object, ...], list[Rollout]] = {}
    for rollout in sorted(rollouts, key=lambda rollout: -rollout.reward):
        parts = tuple(rollout.reward_parts.items())
        found.setdefault((rollout.text, rollout.reward, parts, rollout.truncated), []).append(rollout)
    return list(found.values())


def _response(alike: Sequence[Rollout]) -> str:
    rollout = alike[0]
    verdict = _verdict(rollout)
    sign = {"right": "✓ right", "wrong": "✗ wrong"}.get(verdict, verdict)
    parts = ", ".join(f"{name} {number(value)}" for name, value in rollout.reward_parts.items())
    facts = [f"reward {number(rollout.reward)}"]
    facts += [parts] if parts else []
    facts.append(plural(len(rollout.response_token_ids), "token"))
    facts += ["cut at its limit"] if rollout.truncated else []
    kind = verdict if verdict in ("right", "wrong") else "unjudged"
    times = f'<span class="times">{len(alike)} times</span> ' if len(alike) > 1 else ""
    return (
        f'<li class="{kind}"><p class="facts"><span class="verdict">{sign}</span> {times}'
        f"{text(' · '.join(facts))}</p>{long_text(rollout.text)}</li>"
    )


def _verdict(rollout: Rollout) -> str:
    accuracy = rollout.reward_parts.get("accuracy")
    if accuracy is None:
        return "not judged"
    return "right" if accuracy >= 1.0 else "wrong" if accuracy <= 0.0 else f"{number(accuracy)} right"


def _lag(scored: ScoredGroup, version: int) -> int:
    return max(0, version - 1 - scored.group.header().oldest_version)


def thumbnails(images: Sequence[bytes]) -> str:
    """Return a prompt's images, small; empty where it has none."""
    parts = []
    for position, image in enumerate(images[:MAX_IMAGES], start=1):
        try:
            uri = data_uri(image, THUMBNAIL_PIXELS)
            if len(uri) > MAX_URI_CHARACTERS:
                uri = data_uri(image, THUMBNAIL_PIXELS // 2)
            parts.append(f'<img src="{uri}" alt="image {position} of the prompt">')
        except ValueError:
            parts.append(f'<p class="muted">image {position} cannot be decoded ({len(image):,} bytes)</p>')
    if len(images) > MAX_IMAGES:
        parts.append(f'<p class="muted">{plural(len(images) - MAX_IMAGES, "more image")}</p>')
    return f'<div class="images">{"".join(parts)}</div>' if parts else ""


def long_text(words: str) -> str:
    """Return a text of anybody's, escaped; a long one unfolds."""
    if not words.strip():
        return '<p class="said muted">(empty)</p>'
    cut = words[:MAX_CHARACTERS]
    left_out = len(words) - len(cut)
    end = f'<span class="muted"> … {left_out:,} characters more</span>' if left_out else ""
    if len(cut) <= SHOWN_CHARACTERS:
        return f'<p class="said">{text(cut)}</p>'
    rest = f"{text(cut[SHOWN_CHARACTERS:])}{end}"
    return (
        f'<p class="said">{text(cut[:SHOWN_CHARACTERS])} …</p>'
        f"<details><summary>the rest, {len(cut) - SHOWN_CHARACTERS:,} characters</summary>"
        f'<p class="said">… {rest}</p></details>'
    )
