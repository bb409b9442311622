"""`pgpo-async eval CONFIG|RUN|CHECKPOINT --suite pgpo`; nothing heavy before it runs."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.told import told_in_a_line


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|RUN|CHECKPOINT", help="A YAML file, a run's folder, or RUN/checkpoints/TAG."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="For instance evaluation.samples_per_prompt=8."),
    ] = None,
    suite: Annotated[
        str,
        typer.Option(
            metavar="NAME|FOLDER", help="held-out, pgpo, or a folder with a file for each benchmark."
        ),
    ] = "held-out",
    data: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where a named suite's files are: NAME.parquet.")
    ] = Path("data/benchmarks"),
    only: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="These benchmarks of the suite.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many prompts of each.")] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="RUN|FOLDER", help="Compare with another evaluation, by prompt.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write here.  [default: RUN/evaluations/SUITE]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Begin anew what is there.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Ask benchmarks of a model: avg@k and pass@k with intervals. What was stopped goes on where it was."""
    with told_in_a_line(json):
        from pgpo_async.policy.model_path import resolve_model_path
        from pgpo_async.suite.benchmarks import find_benchmarks
        from pgpo_async.suite.target import find_target

        target = find_target(model, overrides or ())
        resolve_model_path(target.config.model.path)
        names = [name.strip() for name in only.split(",")] if only else []
        benchmarks = find_benchmarks(target.config, suite, data, only=names, limit=limit)
        folder = output or target.home / f"{Path(suite).name}{target.suffix}"

        # Ray and what it brings, once all else is in order.
        from rich.console import Console

        from pgpo_async.evaluation.results import results_json, results_table
        from pgpo_async.metrics.strict_json import strict
        from pgpo_async.suite.comparison import compare, find_other
        from pgpo_async.suite.evaluation import Evaluation

        other = None if against is None else find_other(against, folder)
        console = Console()
        evaluation = Evaluation(target, benchmarks, folder, suite, force=force)
        try:
            results = evaluation.run(lambda text: console.print(text, markup=False, soft_wrap=True))
        except ValueError as error:
            from pgpo_async.contracts import StageFailed

            raise StageFailed(str(error), role="generator") from error
        console.print(results_table(results, title=f"{target.name}, {suite}"))
        figures = results_json(results)
        if other is not None:
            found = compare(folder, other, benchmarks)
            for warning in found.warnings:
                typer.echo(f"warning: {warning}", err=True)
            console.print(found.table({b.name: b.title for b in benchmarks}))
            figures["against"] = found.as_json()
        if json is not None:
            text = json_module.dumps(strict(figures), indent=2, allow_nan=False)
            json.write_text(text + "\n", encoding="utf-8")
        console.print(str(folder), soft_wrap=True)
