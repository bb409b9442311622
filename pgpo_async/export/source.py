"""Which weights of which run are exported: `model/`, or a checkpoint.

Owns the choice, and what to do where there is nothing to export. Called by `command`.
"""

from dataclasses import dataclass
from pathlib import Path

from pgpo_async.contracts import ConfigError
from pgpo_async.contracts.weights import ADAPTER_FOLDER
from pgpo_async.learner import checkpoint
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.report.run_data import UNDER_WAY, RunData, read_run_data
from pgpo_async.report.run_files import as_count


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A run, and the checkpoint whose weights are meant; None for the model that it ended with."""

    run: RunData
    checkpoint: CheckpointInfo | None = None

    @property
    def model(self) -> Path:
        """The folder of the model that the run ended with."""
        return self.run.folder / "model"

    @property
    def adapter(self) -> Path:
        """The folder of its adapters; not there where the run trained the weights themselves."""
        return self.run.folder / ADAPTER_FOLDER

    @property
    def lora_rank(self) -> int:
        """Of the adapters that the run trained; 0 for the weights themselves."""
        return as_count(self.run.setting("model.lora.rank")) or 0

    @property
    def checkpoint_folder(self) -> Path:
        """The chosen checkpoint's."""
        assert self.checkpoint is not None, "a checkpoint must have been chosen"
        return self.run.folder / "checkpoints" / self.checkpoint.tag

    @property
    def num_steps(self) -> int:
        """Optimizer steps that the weights have behind them."""
        if self.checkpoint is not None:
            return self.checkpoint.step
        steps = self.run.steps.steps
        return int(steps[-1]) if len(steps) else as_count(self.run.summary.get("steps")) or 0


def find_source(path: Path, tag: str | None = None) -> Source:
    """Return what `path`, a run's folder or its `model`, has to export.

    Raises ConfigError if it is no run, or has no such weights (yet).
    """
    folder = path.expanduser().absolute()
    if folder.name == "model" and (folder.parent / "config.yaml").is_file():
        folder = folder.parent
    run = read_run_data(folder)
    source = Source(run=run, checkpoint=None if tag is None else _checkpoint(run, tag))
    if tag is None:
        _check_ended(source)
    return source


def resume_command(run: RunData, tag: str | None = None) -> str:
    """Return how a run goes on, from a checkpoint or from its latest."""
    point = run.folder if tag is None else run.folder / "checkpoints" / tag
    return f"`pgpo-async launch {run.folder / 'config.yaml'} --resume {point}`"


def _checkpoint(run: RunData, tag: str) -> CheckpointInfo:
    found = _whole(run)
    for info in found:
        if info.tag == tag:
            return info
    known = ", ".join(info.tag for info in found) or "none: it has no whole checkpoint"
    raise ConfigError(f"--checkpoint: must be one of {run.folder / 'checkpoints'} ({known}), got {tag!r}")


def _whole(run: RunData) -> list[CheckpointInfo]:
    try:
        return checkpoint.find(run.folder / "checkpoints")[0]
    except OSError as error:
        raise ConfigError(f"{run.folder / 'checkpoints'} cannot be read: {error.strerror}") from error


def _check_ended(source: Source) -> None:
    run, tags = source.run, [info.tag for info in _whole(source.run)]
    instead = f"--checkpoint {tags[0]} exports its latest checkpoint" if tags else ""
    if run.status == UNDER_WAY:
        advice = "; ".join(filter(None, ["wait for its end", instead]))
        raise ConfigError(f"{run.folder} must have ended, got a run under way: {advice}")
    if source.model.is_dir():
        return
    # A completed run cannot be resumed.
    resume = "" if run.status == "completed" else f"go on with {resume_command(run)}"
    advice = "; ".join(filter(None, [resume, instead])) or "bring that folder back from where it was moved"
    raise ConfigError(
        f"{run.folder} must hold the trained model in model/, got none (run {run.status}): {advice}"
    )
