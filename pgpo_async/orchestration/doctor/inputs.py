"""What goes into a run and what leaves it: model, prompts, code of the user's own, the checkpoints' URL.

Owns the order, and what needs what. In a process of its own: disks and the network can hang, and the user's
code can do anything.
"""

import uuid
from collections.abc import Iterator
from typing import Any

from pgpo_async.actors.reward import RewardWorker
from pgpo_async.config.masking import masked_text
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import PgpoError
from pgpo_async.orchestration.doctor.lines import Line, error, in_words, ok
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.doctor.model_files import model_lines
from pgpo_async.orchestration.doctor.prompts import prompt_lines

REWARD_START_S = 60.0


def check_inputs(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield lines on the model, then on the prompts as its processor reads them, then on a shaper's code."""
    processor = yield from model_lines(config, machine)
    yield from prompt_lines(config, processor)
    if ":" in config.algorithm.shaper.name:
        yield _shaper(config)


def _shaper(config: RunConfig) -> Line:
    from pgpo_async.algorithms.shaping import make_shaper

    shaper = config.algorithm.shaper
    try:
        make_shaper(shaper.name, **shaper.parameters())
    except Exception as cause:
        advice = "mend it, or set algorithm.shaper.name to one that is shipped"
        return error("shaper", f"{shaper.name} cannot be used: {in_words(cause)}", advice)
    return ok("shaper", f"{shaper.name} loads")


def check_reward(config: RunConfig) -> Iterator[Line]:
    """Yield a line on the process that scores, started as a run starts it."""
    name = config.reward.function or "the built-in verifier"
    worker = RewardWorker(config.reward, start_timeout_s=REWARD_START_S)
    try:
        worker.prepare()
    except PgpoError as cause:
        advice = "mend the function, or set reward.function=MODULE:FUNCTION (null for the built-in verifier)"
        yield error("reward", f"{name} cannot be loaded: {cause.message}", advice)
        return
    finally:
        worker.close()
    yield ok("reward", f"{name} loads in a process of its own")


def check_checkpoint_url(config: RunConfig) -> Iterator[Line]:
    """Yield a line on whether something can be written, read and deleted at the checkpoints' URL."""
    import fsspec

    url = config.train.checkpoint_url
    if url is None:
        return
    shown = masked_text(url)
    try:
        files, root = fsspec.url_to_fs(url)
        root = root.rstrip("/")
        probe, text = f"{root}/.pgpo_async-doctor-{uuid.uuid4().hex}", b"doctor"
        new = _missing_folders(files, root)
        files.makedirs(root, exist_ok=True)
        files.pipe_file(probe, text)
        same = files.cat_file(probe) == text
        files.rm_file(probe)
        for folder in new:
            if files.exists(folder):
                files.rmdir(folder)
    except Exception as cause:  # whatever a file system's library raises
        yield error(
            "checkpoint_url",
            masked_text(f"{shown} cannot be written: {in_words(cause)}"),
            "check the URL and its credentials, install its file system (s3fs, gcsfs, ...), or set "
            "train.checkpoint_url=null",
        )
        return
    if same:
        yield ok("checkpoint_url", f"{shown}: written, read and deleted")
    else:
        yield error("checkpoint_url", f"{shown}: reads back another text than was written", "set another URL")


def _missing_folders(files: Any, root: str) -> list[str]:
    """A folder and its parents as far as they are not there, the deepest first: made for the trial alone."""
    missing = []
    while root.strip("/") and not files.exists(root):
        missing.append(root)
        root = root.rpartition("/")[0]
    return missing
