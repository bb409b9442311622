"""From a token's value to one of a few colours: where each begins, and the numbers below the legend.

Owns the scales: of how many colours, evenly spaced in what, from where to where. One scale for all groups
of a page, so that colours compare. The colours are `colours`'. Called by `page`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pgpo_async.report.tokens.colours import NUM_BOTH_SIDES, NUM_RISING, NUM_STEPS
from pgpo_async.report.tokens.values import GroupValues

Labels = tuple[tuple[float, str], ...]

_PARTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A value has the colour of the last of `edges` (rising) that it reaches, of the first below all.

    `colours` are their numbers in the quantity's ramp. `labels` are numbers for the legend, each with its
    place from 0 to 1. `by_size` ranks tokens by the distance from `centre` (on the scale's own axis), not by
    the value.
    """

    edges: tuple[float, ...]
    colours: tuple[int, ...]
    labels: Labels
    by_size: bool = False
    centre: float = 0.0

    def colour(self, value: float) -> int:
        """The number of the value's colour in the ramp; the page's script finds it in the same way."""
        return self.colours[sum(value >= edge for edge in self.edges[1:])]


def page_scale(key: str, groups: Sequence[GroupValues]) -> Scale:
    """The scale of a quantity over all groups of a page."""
    rows = [row for group in groups for row in group.rows.get(key, ())]
    flat = np.concatenate([np.empty(0, np.float32), *rows]).astype(np.float64)
    return _SCALES[key](flat[np.isfinite(flat)])


Values = np.ndarray[tuple[int], np.dtype[np.float64]]


def _largest(values: Values, at_least: float) -> float:
    # Below `at_least` it is noise, which must not be stretched over all colours.
    return max(at_least, float(np.abs(values).max(initial=0.0)))


def _rising(values: Values, place_of: Callable[[float, float], float], *, at_least: float) -> Scale:
    """From 0 to the largest; `place_of(part, largest)` is the value at a part of the way."""
    top = _largest(values, at_least)

    def place(part: float) -> float:
        return place_of(part, top)

    return Scale(edges=_edges(NUM_RISING, place), colours=tuple(range(NUM_RISING)), labels=_labels(place))


def _around_zero(values: Values, *, at_least: float) -> Scale:
    """Both sides alike, evenly in sign x log(1 + size)."""
    top = math.log1p(_largest(values, at_least))

    def place(part: float) -> float:
        return math.copysign(math.expm1(abs(2 * part - 1) * top), 2 * part - 1)

    return Scale(
        edges=_edges(NUM_BOTH_SIDES, place),
        colours=tuple(range(NUM_BOTH_SIDES)),
        labels=_labels(place, signed=True),
        by_size=True,
    )


def _around_one(values: Values, *, at_least: float, at_most: float) -> Scale:
    """Evenly in the logarithm; what lies beyond `at_most` has the outermost colours."""
    logs = np.log(np.maximum(values, 1e-9))
    top = min(math.log(at_most), _largest(logs, math.log(at_least)))

    def place(part: float) -> float:
        return math.exp((2 * part - 1) * top)

    return Scale(
        edges=_edges(NUM_BOTH_SIDES, place),
        colours=tuple(range(NUM_BOTH_SIDES)),
        labels=_labels(place),
        by_size=True,
        centre=1.0,
    )


def _steps(values: Values) -> Scale:
    """A colour for each whole number, the last for all from there on."""
    highest = int(values.max(initial=0.0))
    count = min(highest + 1, NUM_STEPS)
    texts = [str(step) for step in range(count)]
    if highest >= count:
        texts[-1] += " or more"
    return Scale(
        edges=tuple(step - 0.5 for step in range(count)),
        # Few steps lie far apart in the ramp.
        colours=tuple(round(step * (NUM_STEPS - 1) / max(3, count - 1)) for step in range(count)),
        labels=tuple(((step + 0.5) / count, text) for step, text in enumerate(texts)),
    )


def _edges(count: int, place: Callable[[float], float]) -> tuple[float, ...]:
    return tuple(place(number / count) for number in range(count))


def _labels(place: Callable[[float], float], *, signed: bool = False) -> Labels:
    return tuple((part, _written(place(part), signed=signed)) for part in _PARTS)


def _written(value: float, *, signed: bool) -> str:
    if abs(value) < 1e-12:
        return "0"
    text = f"{abs(value):.2g}" if abs(value) < 100 else f"{abs(value):.0f}"
    sign = "\u2212" if value < 0 else "+" if signed else ""
    return sign + text


_SCALES: dict[str, Callable[[Values], Scale]] = {
    # By the cube root: what matters is one token against its neighbours, and theirs are often all but 0.
    "dependency": lambda values: _rising(values, lambda part, top: top * part**3, at_least=0.05),
    "weight": lambda values: _rising(
        values, lambda part, top: math.expm1(part * math.log1p(top)), at_least=3.0
    ),
    "advantage": lambda values: _around_zero(values, at_least=0.5),
    "entropy": lambda values: _rising(values, lambda part, top: top * part, at_least=0.5),
    "importance": lambda values: _around_one(values, at_least=1.25, at_most=10.0),
    "lag": _steps,
}
