"""Saving, loading and exporting over all ranks. Collective: every rank calls, with the same arguments.

Owns the order in which ranks and files take part. What makes a checkpoint whole is `checkpoint`'s, and how
one of another number of ranks is read `universal`'s. Called by `worker`, in its torch thread.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pgpo_async.contracts import WeightError
from pgpo_async.contracts.weights import ADAPTER_FOLDER
from pgpo_async.learner import checkpoint, random_states, universal
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.distributed import agree, from_rank_0
from pgpo_async.learner.engine import LearnerEngine
from pgpo_async.learner.uploads import Uploads
from pgpo_async.learner.weights import whole_snapshot
from pgpo_async.policy.lora import write_adapters
from pgpo_async.policy.weight_files import HostWeights

Found = tuple[list[CheckpointInfo], tuple[str, ...]]


def save(
    engine: LearnerEngine, folder: Path, info: CheckpointInfo, uploads: Uploads | None
) -> tuple[str, ...]:
    """Write all ranks' parts, make them visible, delete old ones. `checkpoint.prepare` came first.

    Of a run with adapters the frozen weights are left out: they are those of `model.path`. Returns what else
    went wrong since the last save, a line each: nothing that would have to stop training.
    """
    engine.activity.set(f"saving checkpoint {info.tag}")
    home = checkpoint.partial(folder, info.tag)
    engine.deepspeed.save_checkpoint(
        str(folder),
        tag=home.name,
        save_latest=False,
        exclude_frozen_parameters=engine.policy.lora is not None,
    )
    random_states.write(home, engine.rank, engine.device)
    agree([], None, engine.device)  # all ranks have written
    warnings: tuple[str, ...] = ()
    if engine.rank == 0:
        engine.activity.set(f"committing checkpoint {info.tag}")
        checkpoint.commit(folder, info)
        warnings = _after_commit(engine, folder, info.tag, uploads)
    engine.activity.set("idle")
    return warnings


def load(engine: LearnerEngine, folder: Path, tag: str | None = None) -> CheckpointInfo | None:
    """Load checkpoint `tag`, or the newest whole one; what it is of, or None where there is none.

    Raises WeightError on all ranks, before anything is unpickled, if `tag` (or every one) is broken, or if
    the first that is whole is of another ZeRO stage, which DeepSpeed cannot change.
    """
    engine.activity.set(f"looking for a checkpoint in {folder}")
    try:
        found, skipped = _candidates(engine, folder, tag)
        for info in found:
            reasons = _verified(engine, folder, info)
            if not reasons:
                _read(engine, folder, info)
                return replace(info, skipped=skipped)
            skipped = (*skipped, *reasons)
        if skipped:
            raise _refused(skipped)
        return None
    finally:
        engine.activity.set("idle")


def export_hf(engine: LearnerEngine, folder: Path) -> None:
    """Write safetensors, config, tokenizer and processor; the folder appears whole or not at all.

    Adapters are merged into it, and written by themselves into `ADAPTER_FOLDER` beside it, in the place of
    earlier ones. Raises ValueError on all ranks if `folder` exists and is not empty.
    """
    engine.activity.set(f"exporting to {folder}")
    used = engine.rank == 0 and folder.exists() and any(folder.iterdir())
    _, problems = agree([], f"{folder} must be new or empty" if used else None, engine.device)
    if problems:
        engine.activity.set("idle")
        raise ValueError("; ".join(problems))
    weights = whole_snapshot(engine, keep=engine.rank == 0)
    if engine.rank == 0:
        if engine.policy.lora is not None:
            _write_adapter_folder(engine, weights, folder.with_name(ADAPTER_FOLDER))
        _write_hf_folder(engine, weights, folder)
    engine.activity.set("idle")


def _after_commit(engine: LearnerEngine, folder: Path, tag: str, uploads: Uploads | None) -> tuple[str, ...]:
    train = engine.config.train
    warnings = uploads.take_problems() if uploads else ()
    needed = {tag, *(uploads.tags if uploads else ())}
    try:
        checkpoint.prune(folder, train.keep_checkpoints, train.keep_best, spare=needed)
    except OSError as error:
        warnings += (f"old checkpoints in {folder} could not be deleted: {error}",)
    if uploads:
        uploads.submit(folder, tag)
    return warnings


def _candidates(engine: LearnerEngine, folder: Path, tag: str | None) -> Found:
    """As rank 0 sees the folder: a shared one may look different elsewhere for a moment."""
    found: Found = [], ()

    def look() -> None:
        nonlocal found
        found = checkpoint.candidates(folder, tag)

    problems = _together(engine, look, only_rank_0=True)
    if problems:
        raise _refused(problems)
    return from_rank_0(found, engine.device)


def _verified(engine: LearnerEngine, folder: Path, info: CheckpointInfo) -> tuple[str, ...]:
    """What is broken; raises WeightError if it is whole enough to say that it is of another stage."""
    stage = engine.config.learner.zero_stage
    if info.zero_stage != stage:
        raise WeightError(
            f"checkpoint refused: {folder / info.tag} must be of ZeRO stage {stage}, got {info.zero_stage}: "
            "keep learner.zero_stage, or start from an exported model"
        )
    engine.activity.set(f"checking checkpoint {info.tag}")
    part, num_parts = engine.rank, engine.world_size
    return _together(engine, lambda: checkpoint.verify(folder, info.tag, part=part, num_parts=num_parts))


def _read(engine: LearnerEngine, folder: Path, info: CheckpointInfo) -> None:
    if info.world_size != engine.world_size:
        _read_changed(engine, folder, info)
        return
    engine.activity.set(f"loading checkpoint {info.tag}")
    read = _read_adapters if engine.policy.lora is not None else None
    path, _ = engine.deepspeed.load_checkpoint(str(folder), tag=info.tag, custom_load_fn=read)
    assert path is not None, f"DeepSpeed found nothing in {folder / info.tag}"
    random_states.restore(folder / info.tag, engine.rank, engine.device)


def _read_adapters(*, src: Mapping[str, torch.Tensor], dst: torch.nn.Module) -> None:
    """Put back what a checkpoint of a run with adapters holds: them alone."""
    if different := src.keys() ^ dst.state_dict().keys():
        raise WeightError(
            f"checkpoint refused: it must hold the adapters that model.lora asks for, differs in "
            f"{sorted(different)[0]}: keep model.lora as it was"
        )
    dst.load_state_dict(src, strict=False)


def _read_changed(engine: LearnerEngine, folder: Path, info: CheckpointInfo) -> None:
    """Load a checkpoint of another number of ranks."""
    part, num_parts = engine.rank, engine.world_size
    engine.activity.set(f"converting checkpoint {info.tag} from {info.world_size} to {num_parts} ranks")
    try:
        problems = _together(engine, lambda: universal.convert(folder, info.tag), only_rank_0=True)
        problems = problems or _together(
            engine, lambda: universal.verify(folder, info.tag, part=part, num_parts=num_parts)
        )
        if problems:
            raise WeightError(
                f"checkpoint {folder / info.tag} of {info.world_size} ranks could not be converted for "
                f"{num_parts}: {'; '.join(problems)}: set learner.replicas to {info.world_size}, or start "
                "from an exported model"
            )
        engine.activity.set(f"loading checkpoint {info.tag}, converted")
        universal.load(engine.deepspeed, folder, info.tag)
        agree([], None, engine.device)  # all ranks have read
    finally:
        if engine.rank == 0:
            universal.remove(folder, info.tag)


def _together(
    engine: LearnerEngine, work: Callable[[], object], *, only_rank_0: bool = False
) -> tuple[str, ...]:
    """Do something that is not collective; what went wrong on which rank, known to all of them."""
    problem = None
    if engine.rank == 0 or not only_rank_0:
        try:
            work()
        except Exception as error:  # from files, and from DeepSpeed's conversion, which raises anything
            problem = str(error) if isinstance(error, WeightError) else repr(error)
    return agree([], problem, engine.device)[1]


def _refused(reasons: tuple[str, ...]) -> WeightError:
    return WeightError("checkpoint refused: " + "; ".join(reasons))


def _write_hf_folder(engine: LearnerEngine, weights: HostWeights, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    engine.policy.model.save_pretrained(unfinished, state_dict=engine.policy.merged(weights))
    engine.processor.save_pretrained(unfinished)
    os.replace(unfinished, folder)  # an empty folder too


def _write_adapter_folder(engine: LearnerEngine, weights: HostWeights, folder: Path) -> None:
    assert engine.policy.lora is not None, "only a run with adapters has a folder of them"
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write_adapters(unfinished, weights, engine.policy.lora, engine.config.model.path)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(unfinished, folder)
