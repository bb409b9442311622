"""The model before anything loads it: where it is, of which kind, whether its files are whole, its processor.

Owns the questions to the Hub and the reading of safetensors' headers. What may be a model's path, and which
models are supported, is `policy`'s.
"""

import json
import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from pgpo_async.config.masking import masked_text
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.doctor.lines import Line, error, in_words, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.planning.known_models import model_folder
from pgpo_async.orchestration.planning.units import in_bytes
from pgpo_async.policy.model_path import resolve_model_path

HUB_TIMEOUT_S = 15.0
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
_HEADER_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000
_CHOOSE = "set model.path to a folder that holds a model, a hub name (owner/name), or builtin:tiny-vlm"


def model_lines(config: RunConfig, machine: Machine) -> Generator[Line, None, Any]:
    """Yield lines on the model; returns its processor, None where it cannot be had."""
    name = config.model.path
    try:
        path = resolve_model_path(name)
    except ConfigError as cause:
        yield error("model", "; ".join(cause.issues), _CHOOSE)
        return None
    folder = model_folder(config.model.path)
    if folder is None:
        yield _on_the_hub(path, offline=_is_offline(machine))
        return None
    wrong = list(_problems(folder, path))
    yield from wrong
    if any(line.level == "error" for line in wrong):
        return None
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    yield ok("model", f"{masked_text(name)}: {in_bytes(size)} of weights in {folder}")
    return (yield from _processor(config, path))


def _is_offline(machine: Machine) -> bool:
    asked = (machine.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in asked)


def _on_the_hub(path: str, *, offline: bool) -> Line:
    """A model that is not on this machine yet."""
    download = f"download it first: `hf download {path}`"
    if offline:
        found = (
            f"{path} is not in the Hub's cache on this machine, and HF_HUB_OFFLINE lets nothing be downloaded"
        )
        return error("model", found, f"run `unset HF_HUB_OFFLINE`, or {download} where there is a network")
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(path, timeout=HUB_TIMEOUT_S, files_metadata=True)
    except Exception as cause:
        return error(
            "model",
            f"{path} is not on this machine, and the Hub does not give it: {in_words(cause)}",
            f"check the name, `hf auth login` for a model that asks for it, or {download}",
        )
    size = sum(file.size or 0 for file in info.siblings or () if file.rfilename.endswith(".safetensors"))
    found = f"{path} is not on this machine: {in_bytes(size)} would be downloaded when the run starts"
    return warning("model", found, download)


def _problems(folder: Path, path: str) -> Iterator[Line]:
    from pgpo_async.policy.loading import SUPPORTED_MODELS

    try:
        kind = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as cause:
        yield error("model", f"{folder / CONFIG} cannot be read: {in_words(cause)}", _again(path))
        return
    if kind not in SUPPORTED_MODELS:
        names = ", ".join(SUPPORTED_MODELS)
        yield error(
            "model", f"its type must be one of {names}, got {kind!r}", "set model.path to such a model"
        )
        return
    if broken := weight_problems(folder):
        yield error("model", f"its weights are not whole: {'; '.join(broken[:3])}", _again(path))


def _again(path: str) -> str:
    again = f"`hf download {path}`" if not Path(path).is_dir() else "copy the folder anew"
    return f"get its files again: {again}"


def weight_problems(folder: Path) -> list[str]:
    """Say what is missing or cut off of a model's safetensors files, by their index and headers."""
    index: dict[str, str] = {}
    try:
        if (folder / INDEX).is_file():
            index = dict(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as cause:
        return [f"{INDEX} cannot be read: {in_words(cause)}"]
    names = sorted(set(index.values()) or {file.name for file in folder.glob("*.safetensors")})
    if not names:
        return ["there are no safetensors files"]
    problems = []
    for name in names:
        try:
            found = _tensors(folder / name)
        except FileNotFoundError:
            problems.append(f"{name} is missing")
        except (OSError, ValueError, KeyError, TypeError, struct.error) as cause:
            problems.append(f"{name}: {cause}")
        else:
            lost = [tensor for tensor, file in index.items() if file == name and tensor not in found]
            problems += [f"{name} lacks {lost[0]} and {len(lost) - 1} more"] if lost else []
    return problems


def _tensors(path: Path) -> set[str]:
    """The names in a safetensors file. Raises ValueError if it does not hold all that its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = _HEADER_LENGTH.unpack(file.read(_HEADER_LENGTH.size))
        if length > min(size, _LONGEST_HEADER):
            raise ValueError(f"must begin with a header, got one of {length:,} bytes in {size:,}")
        header = json.loads(file.read(length))
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    wanted = _HEADER_LENGTH.size + length + max((e["data_offsets"][1] for e in entries.values()), default=0)
    if size != wanted:
        raise ValueError(f"must be {wanted:,} bytes, got {size:,}")
    return set(entries)


def _processor(config: RunConfig, path: str) -> Generator[Line, None, Any]:
    from pgpo_async.policy.loading import load_processor

    model = config.model
    try:
        processor = load_processor(
            path,
            min_pixels=model.min_pixels,
            max_pixels=model.max_pixels,
            trust_remote_code=model.trust_remote_code,
        )
    except ConfigError as cause:
        advice = "set model.path to a model with its processor's files, or change what the message names"
        yield error("model processor", "; ".join(cause.issues), advice)
        return None
    yield ok("model processor", f"{type(processor).__name__} loads")
    return processor
