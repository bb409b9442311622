"""`pgpo-async data import NAME [SOURCE] --output FILE.parquet`; nothing heavy is imported before it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pgpo_async.told import told_in_a_line

if TYPE_CHECKING:
    from pgpo_async.data.importing.import_run import ImportResult


def import_(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="virl39k, dynamath, geometry3k, mathverse, mathvision, ...")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE.parquet", help="Appears whole or not at all.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A Parquet, JSONL or JSON file, a folder of them, hub:...  [default: on the Hub]",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of a folder or the Hub, not the set's usual one.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Write the first N rows.")] = None,
    every_row: Annotated[
        bool, typer.Option("--all", help="Also the rows that published tables leave out.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Turn a known data set, as it is published, into one Parquet file that runs and evaluations read."""
    with told_in_a_line():
        from pgpo_async.data.importing.import_run import import_set
        from pgpo_async.data.importing.known_sets import known_set

        known = known_set(name)
        done = import_set(known, source, output, split=split, limit=limit, every_row=every_row, force=force)
        for reason, example in done.examples.items():
            typer.echo(f"left out, {reason}: {example}", err=True)
        typer.echo(_table(done))


def _table(done: "ImportResult") -> str:
    origin = done.origin
    lines = [("from", f"{origin.source} ({origin.layout})"), ("rows written", f"{origin.num_rows:,}")]
    lines += [(f"left out, {reason}", f"{count:,}") for reason, count in origin.left_out.items()]
    if origin.num_renamed:
        lines.append(("ids made unique", f"{origin.num_renamed:,}"))
    lines.append(("file", f"{done.path}, {done.path.stat().st_size / 2**20:,.1f} MiB"))
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"{name:<{width}}{value}" for name, value in lines)
