"""A checkpoint of another number of ranks, through DeepSpeed's universal format: parameters by their names.

    FOLDER/.TAG.universal/parameters/   what rank 0 makes of TAG, with a manifest; deleted once all have read

Owns the conversion, and what DeepSpeed 0.19 leaves wrong after the load. It needs as much room again as the
checkpoint, twice while converting. The ZeRO stage must stay. Called by `saving`.
"""

import contextlib
import io
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pgpo_async.learner import manifest

_PARAMETERS = "parameters"


def scratch(folder: Path, tag: str) -> Path:
    """Where the converted checkpoint lies for as long as it is read."""
    return folder / f".{tag}.universal"


def convert(folder: Path, tag: str) -> None:
    """Write the universal form of a verified checkpoint, with a manifest of its own: one rank.

    Raises whatever DeepSpeed does where it cannot; nothing is left then.
    """
    from deepspeed.checkpoint import ds_to_universal

    home = scratch(folder, tag)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    try:
        with (
            _plain_paths(folder / tag, home) as (source, target),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            ds_to_universal.main(
                Namespace(
                    input_folder=source,
                    output_folder=f"{target}/{_PARAMETERS}",
                    # In this process, one after the other: forked ones would inherit its connections.
                    num_extract_workers=1,
                    num_merge_workers=1,
                    keep_temp_folder=False,
                    strict=True,
                    inject_missing_state=True,
                )
            )
        manifest.write(home / _PARAMETERS, {"tag": tag})
    except BaseException:
        remove(folder, tag)
        raise


def verify(folder: Path, tag: str, *, part: int, num_parts: int) -> None:
    """Check what `convert` wrote, or a share of it, before any of it is unpickled. Raises WeightError."""
    manifest.verify(scratch(folder, tag) / _PARAMETERS, part=part, num_parts=num_parts)


def load(deepspeed: Any, folder: Path, tag: str) -> None:
    """Load what `convert` wrote into a DeepSpeed engine of any number of ranks. Collective."""
    with _universal(deepspeed):
        path, _ = deepspeed.load_checkpoint(str(scratch(folder, tag)), tag=_PARAMETERS)
    assert path is not None, f"DeepSpeed found nothing in {scratch(folder, tag)}"
    _own_step_counts(deepspeed.optimizer.optimizer)


def remove(folder: Path, tag: str) -> None:
    """Delete what `convert` wrote."""
    shutil.rmtree(scratch(folder, tag), ignore_errors=True)


@contextlib.contextmanager
def _plain_paths(*folders: Path) -> Iterator[list[str]]:
    """Other names for folders: DeepSpeed reads paths as patterns, so that a bracket in them is a failure."""
    with tempfile.TemporaryDirectory(prefix="pgpo-async-") as plain:
        links = [Path(plain) / str(number) for number in range(len(folders))]
        for link, folder in zip(links, folders, strict=True):
            link.symlink_to(folder.resolve())
        yield [str(link) for link in links]


@contextlib.contextmanager
def _universal(deepspeed: Any) -> Iterator[None]:
    config = deepspeed._config
    before, config.load_universal_checkpoint = config.load_universal_checkpoint, True
    try:
        yield
    finally:
        config.load_universal_checkpoint = before


def _own_step_counts(optimizer: torch.optim.Optimizer) -> None:
    """AdamW counts up in place, so the one tensor that DeepSpeed gives to all of its groups counts each."""
    for state in optimizer.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].clone()
