"""`pgpo-async data import | check`; nothing heavy is imported before a command runs.

0    looked at
1    no row can be used; with --strict also: a row is unusable, contradicts another, or is in the other source
2    the command line, the config or a source is wrong
"""

from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.data.import_command import import_
from pgpo_async.told import told_in_a_line

data = typer.Typer(
    name="data",
    help="Data sets: known ones made into files, and any one looked at before it is trained on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
data.command("import")(import_)


@data.command()
def check(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="As data.source: a file, a folder, hub:..., builtin:..."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="A run's: its sources, columns, limits and model.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Count tokens as this model does, and check its limits."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAME=COLUMN,...", help="For instance images=image,problem=question."),
    ] = None,
    max_prompt_tokens: Annotated[int | None, typer.Option(min=1, help="As data.max_prompt_tokens.")] = None,
    against: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Find rows that are in this source, too.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Look at the first N rows.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="That read and decode.")] = 2,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with sample rows.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 where a row needs attention.")] = False,
) -> None:
    """Look at all rows as training would: what is unusable and why, sizes, tokens, answers, duplicates."""
    with told_in_a_line(json):
        from pgpo_async.report.data_set.check_run import check_sources, config_of
        from pgpo_async.report.data_set.figures import figures, needs_attention
        from pgpo_async.report.data_set.table import table
        from pgpo_async.report.report_command import write_page

        run = config_of(config, source, model, columns, max_prompt_tokens)
        checked = check_sources(
            run,
            with_model=model is not None or config is not None,
            against=against,
            limit=limit,
            num_processes=processes,
        )
        found = [figures(one) for one in checked]
        typer.echo("\n\n".join(table(one) for one in found))
        if json is not None:
            from pgpo_async.report.data_set.figures import write_figures

            write_figures(json, found)
        if html is not None:
            from pgpo_async.report.data_set.page import page

            write_page(html, page(checked))
            typer.echo(html)
        nothing_usable = any(one["num_unusable"] == one["num_rows_checked"] for one in found)
        raise SystemExit(1 if nothing_usable or (strict and needs_attention(found)) else 0)
