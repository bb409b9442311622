"""Which shape the config's model has: by its config.json where it is on this machine, else from a table.

Owns the table, and where a model's files are. Nothing is downloaded. Called by `plan_inputs`, `estimate`, and
the doctor.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.planning.model_shape import ModelShape, TowerShape
from pgpo_async.policy.model_path import resolve_model_path

_TOWER_25 = TowerShape(
    model_type="qwen2_5_vl",
    depth=32,
    hidden=1280,
    intermediate=3420,
    patch=14,
    merge=2,
    full_attention=4,
    extra_mergers=0,
    positions=0,
)
KNOWN_MODELS = {
    "Qwen2.5-VL-3B": ModelShape(
        hidden=2048,
        intermediate=11008,
        layers=36,
        heads=16,
        kv_heads=2,
        head_dim=128,
        vocabulary=151936,
        tied=True,
        tower=_TOWER_25,
    ),
    "Qwen2.5-VL-7B": ModelShape(
        hidden=3584,
        intermediate=18944,
        layers=28,
        heads=28,
        kv_heads=4,
        head_dim=128,
        vocabulary=152064,
        tied=False,
        tower=_TOWER_25,
    ),
    "Qwen3-VL-8B": ModelShape(
        hidden=4096,
        intermediate=12288,
        layers=36,
        heads=32,
        kv_heads=8,
        head_dim=128,
        vocabulary=151936,
        tied=False,
        tower=TowerShape(
            model_type="qwen3_vl",
            depth=27,
            hidden=1152,
            intermediate=4304,
            patch=16,
            merge=2,
            full_attention=27,
            extra_mergers=3,
            positions=2304,
        ),
    ),
}
"""By the part of a name that fine-tuned copies keep."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundShape:
    """A shape, and how it is known."""

    shape: ModelShape
    how: str


def find_shape(path: str) -> FoundShape | None:
    """Return the shape of `model.path`; None for a model that is neither here nor known by its name."""
    folder = model_folder(path)
    if folder is not None:
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            return FoundShape(shape=ModelShape.from_config(config), how="as its config.json says")
        except (OSError, ValueError, KeyError, TypeError):
            return None
    for name, shape in KNOWN_MODELS.items():
        if name.lower() in path.rpartition("/")[2].lower():
            return FoundShape(shape=shape, how=f"as {name} is known to be; the model is not on this machine")
    return None


def model_folder(path: str) -> Path | None:
    """Where the model's files are on this machine; None where they are not (yet)."""
    try:
        resolved = resolve_model_path(path)
    except ConfigError:
        return None
    if Path(resolved).is_dir():
        return Path(resolved)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(resolved, "config.json")
    return Path(found).parent if isinstance(found, str) else None
