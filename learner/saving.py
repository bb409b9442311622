"""Saving, loading and exporting over all ranks. Collective: every rank calls, with the same arguments.

Owns the order in which ranks and files take part. What makes a checkpoint whole is `checkpoint`'s. Called by
`worker`, in its torch thread.
"""

import os
import shutil
from pathlib import Path

from pgpo_async.contracts import WeightError
from pgpo_async.learner import checkpoint
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.distributed import agree
from pgpo_async.learner.engine import LearnerEngine
from pgpo_async.learner.weights import HostWeights, snapshot


def save(engine: LearnerEngine, folder: Path, tag: str, step: int) -> None:
    """Write all ranks' parts, then make them the latest checkpoint. `checkpoint.prepare` came first."""
    engine.activity.set(f"saving checkpoint {tag}")
    engine.deepspeed.save_checkpoint(str(folder), tag=tag, save_latest=False)
    agree([], None, engine.device)  # all ranks have written
    if engine.rank == 0:
        engine.activity.set(f"committing checkpoint {tag}")
        checkpoint.commit(folder, _info(engine, tag, step))
    engine.activity.set("idle")


def load(engine: LearnerEngine, folder: Path) -> int | None:
    """Load the latest checkpoint; its step, or None where there is none.

    Raises WeightError on all ranks, before anything is read, if any of them finds it broken or not of this
    number of ranks and ZeRO stage (DeepSpeed can change neither).
    """
    engine.activity.set(f"checking the checkpoint in {folder}")
    info, problem = None, None
    try:
        info = _checked(engine, folder)
    except (WeightError, OSError) as error:
        problem = str(error)
    _, problems = agree([], problem, engine.device)
    if problems:
        engine.activity.set("idle")
        raise WeightError("checkpoint refused: " + "; ".join(problems))
    if info is not None:
        engine.activity.set(f"loading checkpoint {info.tag}")
        path, _ = engine.deepspeed.load_checkpoint(str(folder), tag=info.tag)
        assert path is not None, f"DeepSpeed found nothing in {folder / info.tag}"
    engine.activity.set("idle")
    return None if info is None else info.step


def export_hf(engine: LearnerEngine, folder: Path) -> None:
    """Write safetensors, config, tokenizer and processor; the folder appears whole or not at all.

    Raises ValueError on all ranks if `folder` exists and is not empty.
    """
    engine.activity.set(f"exporting to {folder}")
    used = engine.rank == 0 and folder.exists() and any(folder.iterdir())
    _, problems = agree([], f"{folder} must be new or empty" if used else None, engine.device)
    if problems:
        engine.activity.set("idle")
        raise ValueError("; ".join(problems))
    weights = snapshot(engine, keep=engine.rank == 0)
    if engine.rank == 0:
        _write_hf_folder(engine, weights, folder)
    engine.activity.set("idle")


def _checked(engine: LearnerEngine, folder: Path) -> CheckpointInfo | None:
    info = checkpoint.latest(folder)
    if info is None:
        return None
    wanted = _info(engine, info.tag, info.step)
    if info != wanted:
        raise WeightError(
            f"{folder / info.tag} must be of {wanted.world_size} ranks at ZeRO stage {wanted.zero_stage}, "
            f"got {info.world_size} at stage {info.zero_stage}: keep both, or start from an exported model"
        )
    checkpoint.verify(folder, info.tag, part=engine.rank, num_parts=engine.world_size)
    return info


def _info(engine: LearnerEngine, tag: str, step: int) -> CheckpointInfo:
    return CheckpointInfo(
        tag=tag, step=step, world_size=engine.world_size, zero_stage=engine.config.learner.zero_stage
    )


def _write_hf_folder(engine: LearnerEngine, weights: HostWeights, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    engine.policy.model.save_pretrained(unfinished, state_dict=dict(weights))
    engine.processor.save_pretrained(unfinished)
    os.replace(unfinished, folder)  # an empty folder too
