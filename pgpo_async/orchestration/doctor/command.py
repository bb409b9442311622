"""`pgpo-async doctor`: its options, and its exit codes.

Nothing heavy at the top: the doctor must answer, and say so, where nothing else can be imported.
"""

from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.told import told_in_a_line


def doctor(
    config: Annotated[
        str | None, typer.Argument(metavar="CONFIG", help="YAML file; without one: the demo's settings.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Set fields of CONFIG.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Start no vLLM engine: no trial of parity.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the lines to this file.")] = None,
) -> None:
    """Look for what is wrong with this machine or CONFIG, before a run does.

    Each line is ok, a warning or an error, with what to do. Exit code 1 if there is an error.
    """
    fields = list(overrides or ())
    if config is not None and "=" in config and not Path(config).is_file():
        fields.insert(0, config)
        config = None
    try:
        import pgpo_async.orchestration.doctor.checks
        import pgpo_async.orchestration.doctor.printing  # noqa: F401
    except ImportError as cause:
        raise SystemExit(_packages_alone(cause)) from None
    with told_in_a_line(json):
        raise SystemExit(_examine(None if config is None else Path(config), fields, quick=quick, json=json))


def _packages_alone(cause: ImportError) -> int:
    """All that can be told where not even the light packages can be imported: which are there."""
    from pgpo_async.orchestration.doctor.packages import installed_packages
    from pgpo_async.orchestration.doctor.versions import check_versions

    typer.echo(f"error   packages: nothing else can be looked at, since {cause}")
    for line in check_versions(installed_packages()):
        typer.echo(f"{line.level:<8}{line.name}: {line.found}{line.advice and f' -> {line.advice}'}")
    return 1


def _examine(path: Path | None, fields: list[str], *, quick: bool, json: Path | None) -> int:
    from rich.console import Console

    from pgpo_async.orchestration.doctor.checks import all_checks, examine
    from pgpo_async.orchestration.doctor.lines import warning
    from pgpo_async.orchestration.doctor.machine import this_machine
    from pgpo_async.orchestration.doctor.printing import Printer
    from pgpo_async.orchestration.doctor.settings import examined_config

    run_config = examined_config(path, fields)
    console = Console()
    about = str(path) if path is not None else "no CONFIG given: the demo's settings"
    console.print(f"doctor: {about}", soft_wrap=True, markup=False, highlight=False)
    printer = Printer(console)
    printer.show(
        warning("config", text, "change the field named, if it is not meant")
        for text in run_config.warnings()
    )
    printer.show(examine(all_checks(run_config, this_machine(), quick=quick), printer.doing))
    printer.close()
    if json is not None:
        printer.write(json, {"config": None if path is None else str(path)})
    return 1 if printer.count("error") else 0
