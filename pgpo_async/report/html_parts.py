"""What every page of ours is made of: the document around it, its colours, data for its script, thumbnails.

A page is one file that asks nobody for anything: its Content-Security-Policy forbids all but what is in it.
Owns how untrusted text becomes part of a page (`text`, `as_script_json`), and the look that pages share: the
colours are custom properties (`--ink`, `--series-1`, ...), light and dark. What a page shows is its own
module's work. Called by `report_page` and by the token viewer.
"""

import base64
import io
import json
import re
from html import escape
from typing import Any

from PIL import Image

from pgpo_async.metrics.strict_json import strict
from pgpo_async.policy.decoding import decode_image

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"

_MAX_DECODED_PIXELS = 50_000_000
"""A thumbnail is worth no more memory; a larger picture is told as one that cannot be shown."""

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

NUM_SERIES = 6
"""`--series-1` to `--series-6`: Okabe and Ito's colours, as in `compare.plots`, brighter on the dark page."""

_COLOURS_LIGHT = """
  --paper: #f6f7f9; --surface: #ffffff; --sunken: #eef0f3; --ink: #16191d; --muted: #565d66; --faint: #d9dde2;
  --accent: #0b62a4; --good: #00694a; --warn: #8a4b00; --bad: #a8201a;
  --good-tint: #e2f4ec; --warn-tint: #fdf0dc; --bad-tint: #fdeae8;
  --series-1: #0072b2; --series-2: #d55e00; --series-3: #009e73; --series-4: #b8588f; --series-5: #b37700;
  --series-6: #3f9fd8; --heat: 0, 114, 178;
"""

_COLOURS_DARK = """
  --paper: #14171b; --surface: #1c2026; --sunken: #262b32; --ink: #e8eaed; --muted: #a3abb5; --faint: #363d46;
  --accent: #7cc0f2; --good: #57d3a4; --warn: #f2b457; --bad: #ff8a80;
  --good-tint: #12352a; --warn-tint: #3a2b10; --bad-tint: #43201d;
  --series-1: #58aee8; --series-2: #ff8c42; --series-3: #35c99b; --series-4: #e59bc4; --series-5: #f0b93a;
  --series-6: #9ad4f5; --heat: 88, 174, 232;
"""

BASE_STYLE = f"""
:root {{ color-scheme: light dark; {_COLOURS_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_COLOURS_DARK} }} }}
* {{ box-sizing: border-box; }}
html {{ -webkit-text-size-adjust: 100%; }}
body {{ margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }}
main {{ max-width: 1500px; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }}
h1 {{ font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.15rem; margin: 2.5rem 0 .75rem; }}
h3 {{ font-size: .95rem; margin: 0 0 .5rem; }}
p {{ margin: .5rem 0; }}
a {{ color: var(--accent); }}
.muted {{ color: var(--muted); }}
.card {{ background: var(--surface); border: 1px solid var(--faint); border-radius: 8px;
  padding: .9rem 1rem; }}
.spoken {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--faint); text-align: left;
  vertical-align: top; }}
thead th {{ color: var(--muted); font-size: .85rem; font-weight: 600; }}
tbody th {{ font-weight: normal; }}
td.number, th.number {{ text-align: right; white-space: nowrap; }}
pre, code {{ font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .85rem; }}
pre {{ background: var(--sunken); border-radius: 6px; padding: .8rem; margin: .5rem 0; overflow-x: auto; }}
summary {{ cursor: pointer; }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
@media print {{ body {{ background: none; font-size: 11px; }} main {{ max-width: none; padding: 0; }}
  .card, figure, tr {{ break-inside: avoid; }} }}
"""


def document(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """Return a whole page. `title` is escaped; `body` is markup, `style` and `script` are this program's own.

    `script` runs when the body is there. Raises ValueError for a script that would end its element early.
    """
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("script must hold neither </script nor <!--: data go through as_script_json")
    program = f"<script>{script}</script>\n" if script else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>{BASE_STYLE}{style}</style>
</head>
<body>
{body}
{program}</body>
</html>
"""


def text(value: object) -> str:
    """Return a value as text of a page, or of a quoted attribute, whatever it holds.

    Characters that no HTML document may hold (lone surrogates, NUL and other controls) become U+FFFD.
    """
    return escape(_FORBIDDEN.sub("\ufffd", str(value)), quote=True)


def as_script_json(value: Any) -> str:
    """Return a value as JSON that can stand in a `<script>` element, whatever texts it holds.

    Numbers that JSON has none for (NaN, infinities) become null. Read it with `JSON.parse`.
    """
    written = json.dumps(strict(value), allow_nan=False, separators=(",", ":"))
    # Only `<` can end the element or begin a comment in it; the others are for readers that know no better.
    for letter in "<>&":
        written = written.replace(letter, f"\\u{ord(letter):04x}")
    return written


def data_block(name: str, value: Any) -> str:
    """Return a `<script>` element of id `name` that holds data and runs nothing."""
    return f'<script type="application/json" id="{text(name)}">{as_script_json(value)}</script>'


def data_uri(image_bytes: bytes, max_pixels: int) -> str:
    """Return an encoded image as a `data:` URI of a PNG or JPEG with no side longer than `max_pixels`.

    Raises ValueError if the bytes cannot be decoded.
    """
    image = decode_image(image_bytes, max_pixels=_MAX_DECODED_PIXELS)
    image.thumbnail((max_pixels, max_pixels), Image.Resampling.LANCZOS)
    candidates = {"png": _encoded(image, "PNG", optimize=True), "jpeg": _encoded(image, "JPEG", quality=82)}
    kind = min(candidates, key=lambda name: len(candidates[name]))
    return f"data:image/{kind};base64,{base64.b64encode(candidates[kind]).decode()}"


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
