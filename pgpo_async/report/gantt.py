"""What every actor did in a few seconds: a row each, a lane for each thing done at the same time.

Draws what `trace_window` read. Called by `report_page`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from pgpo_async.report import svg
from pgpo_async.report.formats import plural, seconds
from pgpo_async.report.html_parts import NUM_SERIES, text
from pgpo_async.report.scales import Axis
from pgpo_async.report.trace_window import TraceSpan, TraceWindow

WIDTH, LEFT, RIGHT, TOP = 1200.0, 128.0, 1188.0, 8.0
MAX_ACTORS = 24
MAX_NAMES = 12
_KNOWN = {"generate": 1, "train": 2, "step": 2, "score": 3, "wait for a batch": 4, "reward": 5}
"""The same colours as in the stage timeline."""
_LANE, _TALLEST_ROW, _GAP = 16.0, 130.0, 8.0
_NAMED = 42.0
"""A span so wide has its name in it."""


def gantt(window: TraceWindow, began_s: float | None) -> str:
    """Return the drawing with its key. The run began at `began_s`."""
    actors: dict[str, list[TraceSpan]] = {}
    for span in window.spans:
        actors.setdefault(span.actor, []).append(span)
    shown = dict(list(actors.items())[:MAX_ACTORS])
    colours = _colours([span for spans in shown.values() for span in spans])
    across = Axis(low=0.0, high=window.end_s - window.start_s, start=LEFT, end=RIGHT)
    parts: list[str] = []
    y = TOP
    for actor, spans in shown.items():
        lanes = {lane: number for number, lane in enumerate(sorted({span.lane for span in spans}))}
        lane_height = min(_LANE, _TALLEST_ROW / len(lanes))
        height = lane_height * len(lanes)
        parts.append(svg.rectangle(LEFT, y, RIGHT - LEFT, height, "track"))
        parts.append(svg.label(LEFT - 10, y + min(height / 2 + 4, 14), actor, "end", "row-name"))
        for span in spans:
            top = y + lanes[span.lane] * lane_height
            parts.append(_bar(span, window, across, top, lane_height, colours.get(span.name, 0)))
        y += height + _GAP
    for value in across.ticks(8):
        parts.insert(0, svg.line(across.at(value), TOP, across.at(value), y, "grid"))
        parts.append(svg.label(across.at(value), y + 14, f"+{seconds(value)}", "middle"))
    key = "".join(
        f'<li><span class="key area s{colour}"></span>{text(name)}</li>' for name, colour in colours.items()
    )
    others = (
        plural(len(actors) - len(shown), "more actor") + " not shown. " if len(actors) > len(shown) else ""
    )
    note = f"{others}The whole of it: open timeline.json in Perfetto or chrome://tracing."
    length = seconds(window.end_s - window.start_s)
    since = "" if began_s is None else f" ({seconds(window.start_s - began_s)} after its start)"
    drawing = svg.picture(WIDTH, y + 22, parts, f"What {len(shown)} actors did in {length}", "chart broad")
    return (
        f'<figure class="card" id="actors"><h3>Actors, {length} from the middle of the run{since}</h3>'
        f'<ul class="legend">{key}</ul><div class="wide">{drawing}</div>'
        f'<figcaption class="remark">{text(note)}</figcaption></figure>'
    )


def _colours(spans: Sequence[TraceSpan]) -> Mapping[str, int]:
    """The names that take most time, each with its colour; 0 is grey."""
    times: Counter[str] = Counter()
    for span in spans:
        times[span.name] += max(1, round(1e6 * span.duration_s))
    common = [name for name, _ in times.most_common(MAX_NAMES)]
    free = [number for number in range(1, NUM_SERIES + 1) if number not in _KNOWN.values()]
    others = iter(free)
    return {name: _KNOWN[name] if name in _KNOWN else next(others, 0) for name in common}


def _bar(span: TraceSpan, window: TraceWindow, across: Axis, y: float, height: float, colour: int) -> str:
    left = across.at(span.start_s - window.start_s)
    right = across.at(span.start_s + span.duration_s - window.start_s)
    width = max(right - left, 0.8)
    details = ", ".join(f"{key} {value}" for key, value in list(span.details.items())[:8])
    told = f"{span.actor}: {span.name}, {seconds(span.duration_s)}" + (f" ({details})" if details else "")
    bar = svg.rectangle(left, y + 0.5, width, max(height - 1, 1), f"span s{colour}", told[:300])
    if width < max(_NAMED, 6.5 * len(span.name)) or height < 12:
        return bar
    return bar + svg.label(left + 4, y + height / 2 + 4, span.name, "start", "bar-name")
