"""Elements of SVG as text: the few that charts are drawn of.

Owns how numbers are written (a tenth of a unit is finer than a pixel) and how paths are put together. Colours
are classes of `page_style`. Called by the charts.
"""

from collections.abc import Iterable, Sequence

from pgpo_async.report.html_parts import text

Point = tuple[float, float]


def place(value: float) -> str:
    """Return a coordinate."""
    return f"{round(value, 1) + 0.0:g}"  # the sum: never -0


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line of class `kind`."""
    ends = f'x1="{place(x1)}" y1="{place(y1)}" x2="{place(x2)}" y2="{place(y2)}"'
    return f'<line class="{kind}" {ends}/>'


def rectangle(x: float, y: float, width: float, height: float, kind: str, told: str = "") -> str:
    """Return a rectangle; `told` is shown beside the pointer."""
    sides = f'x="{place(x)}" y="{place(y)}" width="{place(width)}" height="{place(height)}"'
    if not told:
        return f'<rect class="{kind}" {sides}/>'
    return f'<rect class="{kind}" {sides}><title>{text(told)}</title></rect>'


def label(x: float, y: float, words: object, anchor: str = "start", kind: str = "tick") -> str:
    """Return a text; `anchor` is start, middle or end."""
    return f'<text class="{kind}" x="{place(x)}" y="{place(y)}" text-anchor="{anchor}">{text(words)}</text>'


def path(parts: Iterable[str], kind: str) -> str:
    """Return one element of class `kind` that draws all parts; nothing of none."""
    joined = "".join(parts)
    return f'<path class="{kind}" d="{joined}"/>' if joined else ""


def through(points: Sequence[Point]) -> str:
    """Return the part of a path that goes through the points."""
    return "M" + "L".join(f"{place(x)} {place(y)}" for x, y in points) if points else ""


def closed(points: Sequence[Point]) -> str:
    """Return the part of a path that goes around an area."""
    return f"{through(points)}Z" if points else ""


def box(x: float, y: float, width: float, height: float) -> str:
    """Return the part of a path that is a rectangle."""
    return f"M{place(x)} {place(y)}h{place(width)}v{place(height)}h{place(-width)}z"


def picture(width: float, height: float, parts: Iterable[str], told: str, kind: str = "chart") -> str:
    """Return the whole drawing; `told` says in words what is seen."""
    body = "".join(parts)
    return (
        f'<svg class="{kind}" viewBox="0 0 {place(width)} {place(height)}" role="img" '
        f'aria-label="{text(told)}">{body}</svg>'
    )
