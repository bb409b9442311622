"""Which model is evaluated, and with what config its engines are made.

    CONFIG        a YAML file: the model that it names, for instance the one that a run starts from
    RUN           a run's folder: the model that it ended with
    CHECKPOINT    RUN/checkpoints/TAG: that checkpoint's model (ZeRO 1 and 2), written out while it is asked

Owns the choice, and the weights' fingerprint. Called by `command` and `evaluation`.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

from pgpo_async.config import load_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.export.folder import new_folder
from pgpo_async.export.source import Source, find_source
from pgpo_async.policy.model_path import resolve_model_path

CONFIG_SUFFIXES = (".yaml", ".yml")
EVALUATIONS = "evaluations"
"""Of the folder in a run's."""
_EDGE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """`config` makes the engines; where `source` holds a checkpoint its model is written out first."""

    config: RunConfig
    name: str
    """For titles."""
    home: Path
    """The folder that evaluations of it go into, unless told otherwise."""
    suffix: str = ""
    """Of an evaluation's name: the checkpoint's tag."""
    source: Source | None = None

    @contextmanager
    def model(self, folder: Path) -> Iterator[RunConfig]:
        """Have the config with the model's folder; what is written into `folder` goes again."""
        if self.source is None or self.source.checkpoint is None:
            yield self.config
            return
        from pgpo_async.export.checkpoint_model import write_model  # loads torch

        place = folder / "model"
        shutil.rmtree(place, ignore_errors=True)  # of an evaluation that was killed
        try:
            with new_folder(place) as written:
                write_model(self.source, written)
            model = self.config.model.model_copy(update={"path": str(place)})
            yield self.config.model_copy(update={"model": model})
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def weights(self) -> str:
        """Return what tells these weights from others: of the files, or the checkpoint's own manifest."""
        if self.source is not None and self.source.checkpoint is not None:
            return _fingerprint(self.source.checkpoint_folder, "*.json")
        return _fingerprint(Path(resolve_model_path(self.config.model.path)), "*.safetensors")


def find_target(path: Path, overrides: Sequence[str]) -> Target:
    """Return what `path` names. Raises ConfigError if it is neither of the three, or has no model (yet)."""
    if path.suffix in CONFIG_SUFFIXES or path.is_file():
        config = load_config(path, overrides)
        return Target(config=config, name=config.name, home=config.output_path / EVALUATIONS / config.name)
    folder = path.expanduser().absolute()
    tag = None
    if folder.parent.name == "checkpoints" and (folder.parent.parent / "config.yaml").is_file():
        folder, tag = folder.parent.parent, folder.name
    elif (folder / "config.json").is_file():
        raise ConfigError(
            f"{path} is a model: give a config whose engines it should have, and model.path={path}"
        )
    source = find_source(folder, tag)
    config = load_config(source.run.folder / "config.yaml", overrides)
    if tag is None:
        model = config.model.model_copy(update={"path": str(source.model)})
        config = config.model_copy(update={"model": model})
    return Target(
        config=config,
        name=source.run.name if tag is None else f"{source.run.name} {tag}",
        home=source.run.folder / EVALUATIONS,
        suffix="" if tag is None else f"-{tag}",
        source=source,
    )


def _fingerprint(folder: Path, pattern: str) -> str:
    """Of the files' names, sizes and both ends: another step's weights differ in all of them."""
    digest = xxhash.xxh3_128()
    for path in sorted(folder.glob(pattern)):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE_BYTES))
            file.seek(max(0, size - _EDGE_BYTES))
            digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()
