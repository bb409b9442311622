"""The colours of tokens, light and dark, and the ink that is read on each.

Owns the ramps. Lightness rises or falls all along a ramp, or from the middle to both ends (blue and orange,
green and purple), so that it is read without telling hues apart; steps between neighbours are even to the eye
(OKLab). Ink is black or white, whichever contrasts more: at least 4.5 to 1 on every colour. Called by
`style`; `scales` counts the colours.
"""

from dataclasses import dataclass

NUM_RISING = 12
NUM_BOTH_SIDES = 11
NUM_STEPS = 8
MIN_CONTRAST = 4.5

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ramp:
    """`count` colours through the stops (#rrggbb), which lie evenly."""

    count: int
    light: tuple[str, ...]
    dark: tuple[str, ...]


RAMPS = {
    "dependency": Ramp(
        count=NUM_RISING,
        light=("#eff2f5", "#8bbce0", "#2a7ab9", "#073b70"),
        dark=("#272c33", "#1f5587", "#3f97d6", "#cfe8ff"),
    ),
    "weight": Ramp(
        count=NUM_RISING,
        light=("#f2f0f5", "#c3a6da", "#8a55b3", "#47186f"),
        dark=("#2a2931", "#5b3a7d", "#9c69c9", "#ecd9ff"),
    ),
    "advantage": Ramp(
        count=NUM_BOTH_SIDES,
        light=("#8f3200", "#e08a4a", "#eff0f2", "#6aaede", "#00447c"),
        dark=("#ffc08f", "#b5581a", "#282c33", "#27699f", "#b5dcff"),
    ),
    "entropy": Ramp(
        count=NUM_RISING,
        light=("#f5f1ea", "#ecbf7c", "#c47a1f", "#6b2f00"),
        dark=("#2d2a26", "#744714", "#c98427", "#ffe0b0"),
    ),
    "importance": Ramp(
        count=NUM_BOTH_SIDES,
        light=("#5a2079", "#ad85c6", "#f0f0f1", "#73bd84", "#0b5427"),
        dark=("#e3c2f7", "#8a52a8", "#292c32", "#2f7d49", "#b4efc3"),
    ),
    "lag": Ramp(
        count=NUM_STEPS,
        light=("#e6f2ef", "#7cc4b4", "#1f8a78", "#053f36"),
        dark=("#24302e", "#1d6457", "#3fb09b", "#c4f5ea"),
    ),
}
"""By the keys of `values.QUANTITIES`."""


def colours(ramp: Ramp, *, dark: bool = False) -> list[str]:
    """The colours of a ramp, #rrggbb, first to last."""
    stops = [_to_lab(stop) for stop in (ramp.dark if dark else ramp.light)]
    return [_between(stops, number / (ramp.count - 1)) for number in range(ramp.count)]


def ink_on(colour: str) -> str:
    """Black or white, whichever contrasts more with the colour."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, colour))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, from 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lightness(colour: str) -> float:
    """How light a colour is to the eye, from 0 to 1 (OKLab's L)."""
    return _to_lab(colour)[0]


def _between(stops: list[Triple], part: float) -> str:
    place = part * (len(stops) - 1)
    number = min(int(place), len(stops) - 2)
    rest = place - number
    low, high = stops[number], stops[number + 1]
    return _to_hex(*(a + (b - a) * rest for a, b in zip(low, high, strict=True)))


def _luminance(colour: str) -> float:
    red, green, blue = _linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(colour: str) -> Triple:
    parts = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return red, green, blue


def _to_lab(colour: str) -> Triple:
    """OKLab (B. Ottosson, 2020) of an sRGB colour."""
    red, green, blue = _linear(colour)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _to_hex(light: float, a: float, b: float) -> str:
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    parts = (
        12.92 * part if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055
        for part in (min(1.0, max(0.0, part)) for part in linear)
    )
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
