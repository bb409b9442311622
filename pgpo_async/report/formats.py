"""Numbers as people read them on a page: counts, shares, seconds, bytes. None is a dash.

The page's script formats the values under the pointer in the same ways (`page_script`): `FORMATS` names them.
"""

import math
import time

FORMATS = ("number", "share", "seconds", "bytes", "count")
"""What a figure is, so that its value can be written."""

NOT_KNOWN = "\u2013"


def shown(value: float | None, form: str) -> str:
    """Return a value in one of `FORMATS`."""
    return _WRITERS[form](value)


def number(value: float | None) -> str:
    """Return four digits of a number, or a power of ten where it is very small or large."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e7:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits}e{int(power)}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{float(f'{value:.4g}'):,}".removesuffix(".0")


def count(value: float | None) -> str:
    """Return a whole number."""
    return NOT_KNOWN if value is None or not math.isfinite(value) else f"{value:,.0f}"


def share(value: float | None) -> str:
    """Return per cent, with a decimal where it matters."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    percent = 100 * value
    return f"{percent:.0f} %" if percent == 0 or abs(percent) >= 99.95 else f"{percent:.1f} %"


def seconds(value: float | None) -> str:
    """Return a duration in its fitting unit."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if 0 < abs(value) < 0.9995:
        return f"{1000 * value:.3g} ms"
    if abs(value) < 120:
        return f"{value:.3g} s" if abs(value) < 100 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(value: float | None) -> str:
    """Return bytes in their fitting unit."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def moment(time_s: float | None) -> str:
    """Return a moment as local date and time."""
    if time_s is None:
        return NOT_KNOWN
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
    except (ValueError, OverflowError, OSError):
        return NOT_KNOWN


def plural(count_: int, noun: str) -> str:
    """Return a count with its noun, which takes an s."""
    return f"{count_:,} {noun}" + ("" if count_ == 1 else "s")


_WRITERS = {"number": number, "share": share, "seconds": seconds, "bytes": size, "count": count}
