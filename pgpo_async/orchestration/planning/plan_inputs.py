"""What the planner is told or finds out: service times, the bytes of a group, the bytes of the model.

Reads a run's summary, the headers of safetensors files and a few prompts; loads no model. What it is not told
`estimate` may know.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pgpo_async.config import load_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, PgpoError
from pgpo_async.data.sources import train_source
from pgpo_async.demo.tiny_vlm import tiny_vlm_objects_path, tiny_vlm_path
from pgpo_async.orchestration.planning.known_models import find_shape
from pgpo_async.orchestration.service_times import ServiceTimes

WEIGHT_BYTES = {"float32": 4, "bfloat16": 2}
_BUILTIN_MODELS = {"builtin:tiny-vlm": tiny_vlm_path, "builtin:tiny-vlm-objects": tiny_vlm_objects_path}
_NAMES = tuple(field.name for field in fields(ServiceTimes))
_DEFAULT_PIXELS = 1_000_000
_NUM_SAMPLED = 8

# Of a config, what measured times belong to.
_MEASURED_WITH = (
    ("generator", "prompts_in_flight"),
    ("generation", "group_size"),
    ("generation", "max_response_tokens"),
    ("train", "groups_per_step"),
    ("learner", "replicas"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Bytes, and how they are known."""

    num_bytes: int
    how: str


def service_times(
    config: RunConfig,
    stated: Mapping[str, float | None],
    run: Path | None,
    estimated: ServiceTimes | None = None,
) -> ServiceTimes:
    """Return the measured times of a run, or else `estimated`, with those stated in their place.

    `stated` has fields of `ServiceTimes`, None where nothing is stated. Raises ConfigError, with the options
    to give, if one is missing that the config needs.
    """
    values: dict[str, float] = asdict(estimated) if estimated is not None else {}
    if run is not None:
        values = dict(_measured(run))
    values |= {name: value for name, value in stated.items() if value is not None}
    needed = {
        "generate_s": "--generate: must be given: seconds of one group in an engine with "
        f"generator.prompts_in_flight ({config.generator.prompts_in_flight}) side by side",
        "score_s": "--score: must be given: seconds of one scorer for train.groups_per_step "
        f"({config.train.groups_per_step}) groups",
        "learn_s": "--learn: must be given: seconds of one optimizer step on all learner.replicas "
        f"({config.learner.replicas})",
    }
    if not config.uses_scorers:
        del needed["score_s"]
        values.setdefault("score_s", 0.0)
    issues = [text for name, text in needed.items() if name not in values]
    if issues:
        raise ConfigError([*issues, "or --from: the folder of a run that measured them"])
    try:
        times = ServiceTimes(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the service times are wrong: {error}") from error
    if max(times.busy_per_step(config).values()) == 0:
        raise ConfigError("--generate, --score, --learn: one of them must be above 0, got 0 for all")
    return times


def _measured(run: Path) -> Mapping[str, float]:
    path = run / "summary.json" if run.is_dir() else run
    try:
        summary = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--from: must be a run's folder or its summary.json, got {run}: {error}"
        ) from error
    found = summary.get("service_times") if isinstance(summary, dict) else None
    if found is None:
        raise ConfigError(
            f"--from: {path} must have the key service_times, which it has not: that run did not measure "
            "them; give --generate, --score and --learn"
        )
    if not isinstance(found, dict) or set(found) != set(_NAMES):
        got = sorted(found) if isinstance(found, dict) else found
        raise ConfigError(f"--from: service_times in {path} must have {', '.join(_NAMES)}, got {got}")
    return found


def differences(config: RunConfig, run: Path) -> list[str]:
    """Return a line for each field that was another in the run whose times are taken; none if unknown."""
    path = (run if run.is_dir() else run.parent) / "config.yaml"
    try:
        measured = load_config(path)
    except PgpoError:
        return []
    return [
        f"{section}.{name} is {new}, but the times were measured with {old}: they are taken as they are"
        for section, name in _MEASURED_WITH
        if (new := _field(config, section, name)) != (old := _field(measured, section, name))
    ]


def _field(config: RunConfig, section: str, name: str) -> Any:
    return getattr(getattr(config, section), name)


def group_size(config: RunConfig, stated: int | None) -> Size:
    """Return what one group takes in the object store, at most: all prompts and responses at their limits.

    A response token is two numbers, five once scored, and some 4 letters; images are as encoded.
    """
    if stated is not None:
        return Size(num_bytes=stated, how="stated")
    generation, data = config.generation, config.data
    per_token = 4 * (2 + 3 * config.uses_scorers + (config.algorithm.kl_coef > 0)) + 4
    responses = generation.group_size * generation.max_response_tokens * per_token
    images = _image_size(config)
    return Size(
        num_bytes=responses + 4 * data.max_prompt_tokens + images.num_bytes,
        how=f"at most: {generation.group_size} responses of {generation.max_response_tokens} tokens at "
        f"{per_token} bytes, {data.max_prompt_tokens} prompt tokens, {images.how}",
    )


def _image_size(config: RunConfig) -> Size:
    try:
        source = train_source(config)
        sizes = [sum(map(len, source.prompt(i).images)) for i in range(_NUM_SAMPLED)]
    except (PgpoError, OSError):
        pixels, num = config.model.max_pixels or _DEFAULT_PIXELS, config.model.max_images_per_prompt
        return Size(num_bytes=pixels * num, how=f"images of {pixels:,} pixels at a byte each")
    mean = sum(sizes) // len(sizes)
    return Size(num_bytes=mean, how=f"images of {mean:,} bytes, the mean of {_NUM_SAMPLED} prompts")


def model_size(config: RunConfig, stated_bytes: int | None, parameters: float | None) -> Size:
    """Return what one version of the weights takes as it is published.

    Raises ConfigError where it is neither stated, nor to be read from files on this machine, nor known.
    """
    if stated_bytes is not None:
        return Size(num_bytes=stated_bytes, how="stated")
    dtype = config.model.dtype
    if parameters is not None:
        return Size(num_bytes=round(parameters) * WEIGHT_BYTES[dtype], how=f"{parameters:.3g} in {dtype}")
    path = config.model.path
    try:
        folder = _BUILTIN_MODELS[path]() if path in _BUILTIN_MODELS else Path(path).expanduser()
        num = sum(_num_weights(file) for file in sorted(folder.glob("*.safetensors")))
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ConfigError(f"model.path: the headers of its safetensors cannot be read: {error!r}") from error
    if not num and (found := find_shape(path)) is not None:
        num_weights = found.shape.num_weights
        how = f"{num_weights:,} weights in {dtype}, {found.how}"
        return Size(num_bytes=num_weights * WEIGHT_BYTES[dtype], how=how)
    if not num:
        raise ConfigError(
            f"--parameters: must be given (for instance 8.3e9), or --model-bytes: model.path {path!r} has no "
            "safetensors files on this machine that say it"
        )
    return Size(num_bytes=num * WEIGHT_BYTES[dtype], how=f"{num:,} weights in {dtype}")


def _num_weights(path: Path) -> int:
    """Numbers in a safetensors file, by its header: 8 bytes of length, then JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    num = 0
    for name, entry in header.items():
        if name != "__metadata__":
            size = 1
            for extent in entry["shape"]:
                size *= extent
            num += size
    return num
