"""PromQL made of declared series, so that no query can name one that is not there, or treat it wrongly.

A gauge is read as it is, a counter only through `rate` or `increase`, a histogram through its buckets or as
a mean. Everything is aggregated to the labels that the caller names. Used by `dashboards` and `alerts`.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pgpo_async.metrics.metric import Kind


class Series(Protocol):
    """What a query must know: a `Metric`, or a series of another program's."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> Kind: ...  # noqa: D102
    @property
    def labels(self) -> Mapping[str, Sequence[str]]: ...  # noqa: D102


Part = Literal["", "sum", "count", "bucket"]
"""Of a histogram; "" for all other kinds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Queries:
    """Queries of series that `matcher` chooses and `identity` tells apart; `window` is what rates look back.

    Labels are given by name: `role="generator"`, one of several as "a|b", all but one as "!a".
    """

    matcher: str = ""
    identity: tuple[str, ...] = ("run",)
    window: str

    def now(self, series: Series, *by: str, how: str = "max", **labels: str) -> str:
        """The gauge's value."""
        assert series.kind == "gauge", f"{series.name} is a {series.kind}"
        return self._over(how, self._select(series, "", labels), by)

    def lately(self, function: str, series: Series, *by: str, over: str, ago: str = "", **labels: str) -> str:
        """The gauge through one of PromQL's `*_over_time` functions, until now or some time ago."""
        assert series.kind == "gauge", f"{series.name} is a {series.kind}"
        offset = f" offset {ago}" if ago else ""
        selected = f"{self._select(series, '', labels)}[{over}]{offset}"
        return self._over("max", f"{function}_over_time({selected})", by)

    def predicted(self, series: Series, *, ahead_s: int, over: str, **labels: str) -> str:
        """What the gauge will be, if it goes on as it went."""
        assert series.kind == "gauge", f"{series.name} is a {series.kind}"
        selected = f"{self._select(series, '', labels)}[{over}]"
        return self._over("max", f"predict_linear({selected}, {ahead_s})", ())

    def rate(self, series: Series, *by: str, of: Part = "", **labels: str) -> str:
        """By how much a counter grows in a second."""
        assert series.kind != "gauge", f"{series.name} is a {series.kind}"
        return self._over("sum", f"rate({self._select(series, of, labels)}[{self.window}])", by)

    def increase(self, series: Series, *by: str, of: Part = "", over: str = "", **labels: str) -> str:
        """By how much a counter grew."""
        assert series.kind != "gauge", f"{series.name} is a {series.kind}"
        selected = f"{self._select(series, of, labels)}[{over or self.window}]"
        return self._over("sum", f"increase({selected})", by)

    def mean(self, histogram: Series) -> str:
        """The mean of a histogram's values; nothing where there were none."""
        return share(self.rate(histogram, of="sum"), self.rate(histogram, of="count"))

    def quantile(self, quantile: float, histogram: Series) -> str:
        """One quantile of a histogram's values."""
        return f"histogram_quantile({quantile:g}, {self.rate(histogram, 'le', of='bucket')})"

    def ever(self, series: Series, *, of: Part = "", within: str = "") -> str:
        """A counter as it is: counted since the driver's start; the last that was seen within some time."""
        selected = self._select(series, of, {})
        return self._over("sum", f"last_over_time({selected}[{within}])" if within else selected, ())

    def _over(self, how: str, inner: str, by: Sequence[str]) -> str:
        kept = (*self.identity, *by)
        return f"{how} by ({', '.join(kept)}) ({inner})" if kept else f"{how}({inner})"

    def _select(self, series: Series, part: Part, labels: Mapping[str, str]) -> str:
        assert (series.kind == "histogram") == bool(part), f"{series.name} is a {series.kind}, got {part!r}"
        for name, value in labels.items():
            allowed = series.labels[name]
            words = value.removeprefix("!").split("|")
            assert not allowed or set(words) <= set(allowed), f"{series.name}: no {name} {value!r}"
        matchers = [self.matcher] if self.matcher else []
        matchers += [f"{name}{_matcher(value)}" for name, value in labels.items()]
        full_name = f"{series.name}_{part}" if part else series.name
        return f"{full_name}{{{', '.join(matchers)}}}" if matchers else full_name


def share(part: str, whole: str) -> str:
    """One as a share of the other; nothing (not NaN) where the other is 0."""
    return f"{part} / ({whole} > 0)"


def used_names(expr: str, known: Container[str]) -> set[str]:
    """The series that a query reads; of a histogram's parts, the histogram."""
    names = re.findall(r"\b(?:pgpo_|ray_)\w+|\bALERTS\b", re.sub(r'"[^"]*"', "", expr))
    return {name if name in known else re.sub(r"_(?:bucket|sum|count)$", "", name) for name in names}


def _matcher(value: str) -> str:
    if value.startswith("!"):
        return f'!="{value[1:]}"' if "|" not in value else f'!~"{value[1:]}"'
    return f'=~"{value}"' if "|" in value else f'="{value}"'
