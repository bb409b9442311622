"""The report's tables: accounting, events, versions, the config.

Every text is escaped. Called by `report_page`.
"""

from collections.abc import Iterable, Mapping, Sequence

from pgpo_async.report.event_marks import symbol
from pgpo_async.report.formats import NOT_KNOWN, count, moment, plural, seconds, share
from pgpo_async.report.headline import ENDS, books_of
from pgpo_async.report.html_parts import text
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_events import MARKED, Event
from pgpo_async.report.run_files import as_count, as_mapping, as_number
from pgpo_async.report.run_quarantine import QuarantinedKind

SHOWN_EVENTS = 30
MAX_EVENTS = 1000
MAX_KINDS = 40

_MEANINGS = {
    "trained": "taught the policy in an optimizer step",
    "filtered": "no signal: the mean was not between the filter's bounds",
    "stale": "too old to train, so often that it was given up",
    "quarantined": "could not be used, with its reason",
    "pending": "still in the pipe",
}


def accounting(run: RunData) -> str:
    """Return where every drawn prompt ended."""
    books = books_of(run)
    if not books.counts:
        return '<p class="muted">No prompt is accounted for yet.</p>'
    drawn = books.counts.get("drawn")
    rows = [
        [name, count(books.counts.get(name)), _share(books.counts.get(name), drawn), _MEANINGS[name]]
        for name in ENDS
    ]
    if drawn is None:
        end = '<p class="muted">The run did not tell the whole of its books.</p>'
    else:
        verdict = "balanced" if books.balanced else "DOES NOT ADD UP"
        rows.append(["sum", count(books.accounted), "", f"{count(drawn)} drawn: {verdict}"])
        sign = "✓" if books.balanced else "✗"
        kind = "good" if books.balanced else "bad"
        end = (
            f'<p class="sum {kind}">{sign} drawn {count(drawn)} = '
            f"{' + '.join(f'{name} {count(books.counts.get(name, 0))}' for name in ENDS)}</p>"
        )
    table = _table(("prompts", "count", "share", "meaning"), rows, numbers=(1, 2))
    told_s = as_number(run.standing.get("time_s"))
    as_of = f'<p class="muted">As of {moment(told_s)}.</p>' if told_s is not None else ""
    return f"{table}{end}{as_of}{_quarantined(run)}"


def _quarantined(run: RunData) -> str:
    if run.quarantined:
        rows = [_kind_row(kind) for kind in run.quarantined[:MAX_KINDS]]
        left_out = len(run.quarantined) - len(rows)
        more = f'<p class="muted">{plural(left_out, "more kind")} not shown.</p>' if left_out else ""
        head = ("stage", "reason", "count", "first error")
        return f"<h3>Quarantined, by stage and reason</h3>{_table(head, rows, numbers=(2,))}{more}"
    reasons = as_mapping(run.told.get("quarantined_by_reason"))
    rows = [[str(reason), count(as_count(num))] for reason, num in list(reasons.items())[:MAX_KINDS]]
    return f"<h3>Quarantined, by reason</h3>{_table(('reason', 'count'), rows, numbers=(1,))}" if rows else ""


def _kind_row(kind: QuarantinedKind) -> list[str]:
    return [kind.stage, kind.reason, count(kind.count), kind.error]


def events(run: RunData) -> str:
    """Return what happened, with times since the run's start; a long list unfolds."""
    if not run.events:
        return '<p class="muted">No event was recorded.</p>'
    listed = _chosen(run.events)
    rows = [_event_row(event, run.began_s) for event in listed]
    head = (
        '<thead><tr><th scope="col" class="number">after</th><th scope="col">kind</th>'
        '<th scope="col">event</th></tr></thead>'
    )

    def table(some: Sequence[str]) -> str:
        return f'<div class="wide"><table class="events">{head}<tbody>{"".join(some)}</tbody></table></div>'

    left_out = len(run.events) - len(listed)
    more = (
        f'<p class="muted">{plural(left_out, "event")} not shown, see events.jsonl.</p>' if left_out else ""
    )
    if len(rows) <= SHOWN_EVENTS:
        return table(rows) + more
    rest = plural(len(rows) - SHOWN_EVENTS, "later event")
    return (
        f"{table(rows[:SHOWN_EVENTS])}<details><summary>{rest}</summary>{table(rows[SHOWN_EVENTS:])}{more}"
        "</details>"
    )


def _chosen(listed: Sequence[Event]) -> Sequence[Event]:
    """Of very many those that are marked come first; of these the first and the last."""
    if len(listed) <= MAX_EVENTS:
        return listed
    marked = [event for event in listed if event.kind in MARKED] or list(listed)
    half = MAX_EVENTS // 2
    return marked if len(marked) <= MAX_EVENTS else [*marked[:half], *marked[-half:]]


def _event_row(event: Event, began_s: float | None) -> str:
    after = seconds(event.time_s - began_s) if event.time_s is not None and began_s is not None else NOT_KNOWN
    sign = ""
    if event.kind in MARKED:
        sign = f'<svg class="sign" viewBox="-7 -7 14 14" aria-hidden="true">{symbol(event.kind, 0, 0)}</svg>'
    return (
        f'<tr><td class="number" title="{text(moment(event.time_s))}">'
        f"{text(after)}</td><td>{sign}{text(event.kind.value)}</td><td>{text(event.text)}</td></tr>"
    )


def versions(found: Mapping[str, str], source: str) -> str:
    """Return packages and their versions."""
    return f'<p class="muted">{text(source)}</p>' + _table(
        ("package", "version"), [list(i) for i in found.items()]
    )


def config(run: RunData) -> str:
    """Return the resolved config as it was written."""
    if not run.config_text:
        return '<p class="muted">config.yaml could not be read.</p>'
    lines = run.config_text.count("\n")
    return (
        f"<details><summary>config.yaml, {plural(lines, 'line')}</summary>"
        f"<pre>{text(run.config_text)}</pre></details>"
    )


def _share(value: int | None, drawn: int | None) -> str:
    return share(value / drawn) if value is not None and drawn else NOT_KNOWN


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def kind(position: int) -> str:
        return ' class="number"' if position in numbers else ""

    titles = "".join(f'<th scope="col"{kind(i)}>{text(cell)}</th>' for i, cell in enumerate(head))
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td{kind(i)}>{text(cell)}</td>" for i, cell in enumerate(others, start=1))
        lines.append(f'<tr><th scope="row">{text(first)}</th>{cells}</tr>')
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<div class="wide">{table}</div>'
