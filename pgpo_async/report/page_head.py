"""The head of the report: what run it is, how it stands, what is wrong with it, its key figures.

Called by `report_page`.
"""

from pgpo_async.report.formats import moment, seconds
from pgpo_async.report.headline import Tile, books_of, tiles_of, wall_s_of
from pgpo_async.report.html_parts import text
from pgpo_async.report.problems import problems_of
from pgpo_async.report.run_data import NO_SUMMARY, UNDER_WAY, RunData
from pgpo_async.report.run_files import as_mapping

_BADGES = {
    "completed": ("good", "✓"),
    "interrupted": ("warn", "■"),
    "failed": ("bad", "✗"),
    UNDER_WAY: ("", "▶"),
    NO_SUMMARY: ("bad", "?"),
}
"""Each status with its colour and its sign."""


def page_head(run: RunData) -> str:
    """Return the head's markup."""
    kind, sign = _BADGES[run.status]
    tiles = "".join(_tile(tile) for tile in tiles_of(run))
    return (
        f'<header><div class="head"><h1>{text(run.name)}</h1>'
        f'<span class="badge {kind}">{sign} {text(run.status)}</span></div>'
        f'<p class="muted">{text(_about(run))}</p>{_problems(run)}<dl class="tiles">{tiles}</dl></header>'
    )


def _tile(tile: Tile) -> str:
    kind = "card bad" if tile.bad else "card"
    return (
        f'<div class="{kind}"><dt>{text(tile.label)}</dt><dd class="figure">{text(tile.value)}</dd>'
        f'<dd class="detail">{text(tile.detail)}</dd></div>'
    )


def _about(run: RunData) -> str:
    settings = {
        "model": run.setting("model.path"),
        "method": run.setting("algorithm.shaper.name"),
        "data": run.setting("data.source") or _mixed(run),
        "mode": run.setting("mode"),
        "began": moment(run.began_s) if run.began_s is not None else None,
        "took": seconds(wall_s_of(run)) if wall_s_of(run) is not None else None,
        "report of": moment(run.read_s),
    }
    return " · ".join(f"{name} {value}" for name, value in settings.items() if value)


def _mixed(run: RunData) -> str:
    sources = run.setting("data.sources")
    return " + ".join(str(as_mapping(one).get("source")) for one in sources) if sources else ""


def _problems(run: RunData) -> str:
    found = problems_of(run)
    if found:
        items = "".join(
            f'<li class="{"grave" if problem.grave else "minor"}"><span>{text(problem.text)}</span></li>'
            for problem in found
        )
        return f'<ul class="problems" aria-label="Problems">{items}</ul>'
    checked = {
        "the books balance": books_of(run).balanced is True,
        "nothing was left behind": run.summary.get("left_behind") == [],
        "no step was skipped": run.steps.has("learner/skipped_step"),
        "nobody died": True,
        "generators and trainer agree": run.steps.has("learner/fresh_mismatch_kl"),
    }
    told = ", ".join(what for what, known in checked.items() if known)
    return f'<p class="sound">✓ Nothing wrong was found: {told}.</p>'
