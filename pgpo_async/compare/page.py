"""A comparison as one HTML file: curves, table, settings. No script, nothing from a network.

Every text that is not this module's own is escaped; the drawing is this program's. Called by `report`.
"""

from collections.abc import Iterable, Mapping
from html import escape

from pgpo_async.compare.results import Results
from pgpo_async.compare.table import heading, notes, rows
from pgpo_async.config import CompareConfig, dump_config

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; margin: 2rem auto;
       max-width: 1500px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; font-weight: normal; } thead th { font-weight: bold; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; }
"""


def page(results: Results, compare: CompareConfig, svg: str, versions: Mapping[str, str]) -> str:
    """Return the whole file; `svg` is the figure as an `<svg>` element."""
    name = escape(results.name)
    methods = ", ".join(method.method for method in results.methods)
    about = f"{methods}; seeds {', '.join(str(seed) for seed in results.seeds)}; base {compare.base}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{name}</h1>
<p>{escape(about)}</p>
<h2>Results</h2>
<div class="wide">{_table(heading(results), rows(results))}</div>
{_list(notes(results))}
<h2>Curves</h2>
<figure role="img" aria-label="Six panels of curves; their numbers are in the table">
{svg}
<figcaption>Thin: a seed. Thick: the mean of a method's finished runs; its band is one standard error, drawn
from two seeds on.</figcaption>
</figure>
<h2>Methods</h2>
<div class="wide">{_table(("method", "overrides"), _overrides(compare))}</div>
<h2>Settings</h2>
<pre>{escape(dump_config(compare))}</pre>
<p>{escape(", ".join(f"{package} {version}" for package, version in versions.items()))}</p>
</body>
</html>
"""


def _overrides(compare: CompareConfig) -> Iterable[tuple[str, ...]]:
    for method, overrides in compare.methods.items():
        settings = ", ".join(f"{key}={value}" for key, value in (compare.common | overrides).items())
        yield method, settings or "none"


def _table(head: Iterable[str], body: Iterable[tuple[str, ...]]) -> str:
    titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = [f"<table><thead><tr>{titles}</tr></thead><tbody>"]
    for label, *cells in body:
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(label)}</th>{values}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _list(items: Iterable[str]) -> str:
    return "\n".join(["<ul>", *(f"<li>{escape(item)}</li>" for item in items), "</ul>"])
