"""`pgpo-async data import | check`; nothing heavy is imported before a command runs."""

import typer

from pgpo_async.data.import_command import import_

data = typer.Typer(
    name="data",
    help="Data sets: known ones made into files, and any one looked at before it is trained on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
data.command("import")(import_)
