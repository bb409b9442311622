"""A comparison's results as rows, as a rich table, as markdown and as JSON. Called by `report` and `page`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from pgpo_async.compare.curves import SMOOTHED_STEPS, Estimate, RunCurves
from pgpo_async.compare.figures import FIGURES, Figure
from pgpo_async.compare.results import MethodResults, Reached, Results
from pgpo_async.config import CompareConfig

NOT_MEASURED = "not measured"

Row = tuple[str, ...]
"""A label, then a cell for each method."""


def heading(results: Results) -> Row:
    """Return the heading: nothing over the labels, then the methods."""
    return ("", *(method.method for method in results.methods))


def rows(results: Results) -> list[Row]:
    """Return the rows below the heading."""
    methods = results.methods
    return [
        ("runs finished", *(f"{len(method.runs)} of {method.num_planned}" for method in methods)),
        *((figure.label, *(_cell(method, figure) for method in methods)) for figure in FIGURES),
        (_target_label("steps", results), *(_reached(method.steps_to_target) for method in methods)),
        (_target_label("seconds", results), *(_reached(method.seconds_to_target) for method in methods)),
        *(
            (f"less {results.first}: {figure.label}", *(_difference(results, m, figure) for m in methods))
            for figure in FIGURES
            if figure.paired
        ),
    ]


def notes(results: Results) -> list[str]:
    """Return what a reader must know of the numbers, one sentence a line; what did not finish first."""
    lines = [f"In no mean, because it did not finish: {run.told}." for run in results.unfinished]
    if len(results.seeds) == 1:
        lines.append("One seed: nothing here tells a method from noise.")
    else:
        lines.append(
            f"Mean ± one standard error over seeds ({len(results.seeds)} planned); no ± where there is one. "
            "(n) is told where not all finished runs measured it."
        )
    lines.append(
        f"`less {results.first}` is the mean of the differences of runs with the same seed, hence the same "
        "prompts; (n) seeds. A difference of less than two standard errors is within the noise."
    )
    lines.append("At the end: mean over the last quarter of the steps.")
    if results.target_accuracy is not None:
        whose = "as asked" if results.target_given else f"what {results.first} has in its last quarter"
        lines.append(
            f"Steps and seconds to {results.target_accuracy:.3f} ({whose}): the first step at which "
            f"the running mean of {SMOOTHED_STEPS} steps of training accuracy is there."
        )
    return lines


def rich_table(results: Results) -> Table:
    """Return the table for a terminal."""
    table = Table(
        title=f"{escape(results.name)}: {len(results.methods)} methods, {len(results.seeds)} seeds",
        title_justify="left",
        caption=escape("\n".join(notes(results))),
        caption_justify="left",
    )
    first, *others = heading(results)
    table.add_column(first)
    for name in others:
        table.add_column(escape(name), justify="right")
    for row in rows(results):
        table.add_row(*(escape(cell) for cell in row))
    return table


def markdown(results: Results) -> str:
    """Return the table as a markdown document."""
    head, *body = ([_in_markdown(cell) for cell in row] for row in [heading(results), *rows(results)])
    lines = [f"# {_in_markdown(results.name)}", "", _line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    lines += [_line(row) for row in body]
    lines += ["", *(f"- {note}" for note in notes(results))]
    return "\n".join(lines) + "\n"


def as_json(results: Results, compare: CompareConfig, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return `results.json`: numbers, and null for what was not measured."""
    unfinished: dict[str, list[RunCurves]] = {}
    for run in results.unfinished:
        unfinished.setdefault(run.method, []).append(run)
    return {
        "name": results.name,
        "base": compare.base,
        "seeds": list(results.seeds),
        "common": dict(compare.common),
        "target_accuracy": results.target_accuracy,
        "target_accuracy_given": results.target_given,
        "versions": dict(versions),
        "methods": [
            {
                "method": method.method,
                "overrides": dict(compare.methods[method.method]),
                "figures": _estimates(method.figures, [figure.key for figure in FIGURES]),
                f"less_{results.first}": _estimates(method.differences, [f.key for f in FIGURES if f.paired]),
                "steps_to_target": asdict(method.steps_to_target) if method.steps_to_target else None,
                "seconds_to_target": asdict(method.seconds_to_target) if method.seconds_to_target else None,
                "runs": [_run(run) for run in (*method.runs, *unfinished.get(method.method, ()))],
            }
            for method in results.methods
        ],
    }


def _run(run: RunCurves) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "status": run.status,
        "finished": run.finished,
        "folder": run.folder.name if run.folder else None,
        "num_steps": len(run.steps),
        "figures": {figure.key: figure.of_run(run) for figure in FIGURES},
    }


def _estimates(found: Mapping[str, Estimate], keys: list[str]) -> dict[str, Any]:
    return {key: asdict(found[key]) if key in found else None for key in keys}


def _cell(method: MethodResults, figure: Figure) -> str:
    found = method.figures.get(figure.key)
    if found is None:
        return NOT_MEASURED
    part = f" ({found.count})" if found.count < len(method.runs) else ""
    return _number(found, figure.form) + part


def _difference(results: Results, method: MethodResults, figure: Figure) -> str:
    if method.method == results.first:
        return ""
    found = method.differences.get(figure.key)
    return NOT_MEASURED if found is None else f"{_number(found, '+' + figure.form)} ({found.count})"


def _number(found: Estimate, form: str) -> str:
    if found.standard_error is None:
        return f"{found.mean:{form}}"
    return f"{found.mean:{form}} ± {found.standard_error:{form.removeprefix('+')}}"


def _target_label(unit: str, results: Results) -> str:
    target = results.target_accuracy
    return f"{unit} to " + ("the target accuracy" if target is None else f"training accuracy {target:.3f}")


def _reached(reached: Reached | None) -> str:
    if reached is None or reached.num_runs == 0:
        return NOT_MEASURED
    if reached.estimate is None:
        return f"reached by {reached.num_reached} of {reached.num_runs}"
    return _number(reached.estimate, ".1f")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _in_markdown(text: str) -> str:
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
