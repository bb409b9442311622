"""`pgpo-async export RUN --to hf`: from a run's folder to a model's; nothing heavy before it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.told import told_in_a_line

FORMATS = ("hf",)
NAME = "hf"
"""Of the folder in the run's."""

_TOLD_BY = ("config.yaml", "metrics.jsonl", "summary.json")
"""What the card is made of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A folder, the bytes of its files by name, and why its card lacks something, a line each."""

    folder: Path
    sizes: Mapping[str, int]
    untold: Sequence[str] = ()


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, or the model/ in it.")],
    to: Annotated[str, typer.Option(metavar="hf", help="As transformers and vLLM load it.")] = "hf",
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write it here.  [default: RUN/hf]")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="TAG", help="The model of this checkpoint (ZeRO 1 and 2), of a run under way too."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
) -> None:
    """Write a trained model with its card: safetensors, configs, processor, README.md, all files' hashes."""
    with told_in_a_line():
        if to not in FORMATS:
            from pgpo_async.contracts import ConfigError

            raise ConfigError(f"--to: must be {' or '.join(FORMATS)}, got {to!r}")
        exported = export_run(run, output, checkpoint=checkpoint, force=force)
        for line in exported.untold:
            typer.echo(f"warning: the card cannot tell all: {line}", err=True)
        for name, num_bytes in exported.sizes.items():
            typer.echo(f"{num_bytes:>16,} bytes  {name}")
        typer.echo(f"{sum(exported.sizes.values()):>16,} bytes in all")
        typer.echo(exported.folder)


def export_run(
    path: Path, output: Path | None = None, *, checkpoint: str | None = None, force: bool = False
) -> Exported:
    """Export a run's model, whole or not at all.

    Raises ConfigError where there is none, it is not whole, or it cannot be written there.
    """
    from pgpo_async.export.base_model import CARD, base_model, name_in_adapter
    from pgpo_async.export.card import model_card
    from pgpo_async.export.folder import check_place, copy_files, new_folder
    from pgpo_async.export.model_files import check_whole, read_weights
    from pgpo_async.export.source import find_source
    from pgpo_async.learner import manifest

    source = find_source(path, checkpoint)
    place = check_place(output or source.run.folder / NAME, force=force, run=source.run.folder)
    if source.checkpoint is None:
        check_whole(source.model, str(source.model))
    with new_folder(place) as folder:
        if source.checkpoint is None:
            copy_files(source.model, folder)
            copy_files(source.adapter, folder / source.adapter.name)
        else:
            from pgpo_async.export.checkpoint_model import write_model

            write_model(source, folder)
        check_whole(folder, "what was written")
        base = base_model(source.run.setting("model.path"))
        name_in_adapter(base, folder)
        card = model_card(source, base, read_weights(folder))
        (folder / CARD).write_text(card, encoding="utf-8")
        about = {"format": "hf", "run": source.run.name, "step": source.num_steps, "base_model": base.name}
        manifest.write(folder, about)
        files = manifest.read(folder).files
    return Exported(
        folder=place,
        sizes={name: files[name].num_bytes for name in sorted(files)},
        untold=[line for line in source.run.missing if line.startswith(_TOLD_BY)],
    )
