"""The exported folder: whole or not there, and never in the place of something else.

    .NAME.PID.partial/     being written; one rename makes it NAME
    .NAME.PID.replaced/    an earlier export, being deleted

Owns where an export may go and how it appears. What is in it is the callers'. Called by `command`.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pgpo_async.contracts import ConfigError
from pgpo_async.learner import manifest


def check_place(path: Path, *, force: bool, run: Path) -> Path:
    """Return `path` without links, if an export may go there. Raises ConfigError otherwise.

    Not among the files of `run`, a run's folder, though beside them; `force` replaces an earlier export only.
    """
    try:
        output = path.expanduser().resolve()
        _check(output, force, run.resolve())
    except ConfigError:
        raise
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as error:  # no right to look, no home, a name that none can have
        raise ConfigError(f"--output: {path} cannot be used: {error}; choose another folder") from error
    return output


def copy_files(source: Path, folder: Path) -> None:
    """Copy all files under `source`."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        copy = folder / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _check(output: Path, force: bool, run: Path) -> None:
    inside = run in output.parents and (output.parent != run or output.name == "model")
    if inside or output == run or output in run.parents:
        raise ConfigError(f"--output: must be a folder of its own, got {output}, which the run needs")
    if not output.exists():
        return
    if not output.is_dir():
        raise ConfigError(f"--output: must be a folder, got the file {output}")
    if not any(output.iterdir()):
        return
    if not force:
        raise ConfigError(
            f"--output: {output} must be new or empty: choose another folder, or replace it with --force"
        )
    if not (output / manifest.MANIFEST).is_file() or not (output / "config.json").is_file():
        raise ConfigError(
            f"--force: {output} must be an earlier export, got another folder: choose another --output"
        )


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Give a folder to write into, which becomes `output` at the end, in the place of an earlier export.

    Where anything goes wrong nothing is left of it, and an earlier export is as it was.
    """
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        _open_to_readers(partial)
        manifest.sync_all(partial)
        _reveal(partial, output)
    except OSError as error:
        where = error.filename2 or error.filename or output
        raise ConfigError(
            f"--output: {output} cannot be made: {error.strerror or error} ({where}); choose a folder that "
            "you may write and that has room"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _open_to_readers(folder: Path) -> None:
    """Give all files the rights of any new file: safetensors are written for their owner alone."""
    rights = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(rights)


def _reveal(partial: Path, output: Path) -> None:
    if not output.exists() or not any(output.iterdir()):
        os.replace(partial, output)  # an empty folder too
    else:
        replaced = output.with_name(f".{output.name}.{os.getpid()}.replaced")
        os.replace(output, replaced)
        try:
            os.replace(partial, output)
        except OSError:
            os.replace(replaced, output)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    manifest.sync(output.parent)
