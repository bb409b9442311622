"""A model's folder as transformers and vLLM load it: whether it is whole, and what its weights are.

Reads headers only. Called by `command`, before and after it writes.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.doctor.model_files import weight_problems

NEEDED = (
    ("config.json",),
    ("processor_config.json", "preprocessor_config.json"),
    ("tokenizer.json", "tokenizer.model", "vocab.json"),
)
"""One of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Numbers in all tensors, the precisions they are in, and the bytes of their files."""

    num_parameters: int
    dtypes: tuple[str, ...]
    num_bytes: int


def check_whole(folder: Path, name: str) -> None:
    """Raise ConfigError with all that a model's folder lacks; `name` is what to call it."""
    lacking = [
        f"there is no {' or '.join(names)}"
        for names in NEEDED
        if not any((folder / n).is_file() for n in names)
    ]
    problems = lacking + weight_problems(folder)
    if problems:
        raise ConfigError(
            f"{name} must be a whole model, but {'; '.join(problems)}: bring back the files, "
            "or export a checkpoint (--checkpoint TAG)"
        )


def read_weights(folder: Path) -> Weights:
    """Return what the weights of a whole model are."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    num_parameters, dtypes = 0, set()
    for path in files:
        with safe_open(path, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 (it is no mapping)
                tensor = file.get_slice(key)
                num_parameters += math.prod(tensor.get_shape())
                dtypes.add(tensor.get_dtype())
    return Weights(
        num_parameters=num_parameters,
        dtypes=tuple(sorted(dtypes)),
        num_bytes=sum(path.stat().st_size for path in files),
    )
