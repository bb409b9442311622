"""What a run started from: its name as others know it, and the licence that its own card states.

Asks no network: a hub model's card is read if it is in the cache. Called by `command`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pgpo_async.contracts import ConfigError
from pgpo_async.contracts.weights import ADAPTER_CONFIG, ADAPTER_FOLDER
from pgpo_async.export.published import published
from pgpo_async.policy.model_path import resolve_model_path

CARD = "README.md"
LICENCE_KEYS = ("license", "license_name", "license_link")
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseModel:
    """`name` may be shown; `hub_name` is None for a model that no hub knows by it."""

    name: str
    hub_name: str | None = None
    licence: Mapping[str, str] = field(default_factory=dict)
    """What of `LICENCE_KEYS` its card states."""


def base_model(path: Any) -> BaseModel:
    """Return what is known of the model at `model.path`, which need not be there any more."""
    if not isinstance(path, str):
        return BaseModel(name="a model that the run's config does not name")
    try:
        place = resolve_model_path(path)
    except ConfigError:
        return BaseModel(name=published(path))
    if place != path or Path(place).is_dir():
        return BaseModel(name=published(path), licence=_licence(Path(place) / CARD))
    card = _cached_card(path)
    return BaseModel(name=path, hub_name=path, licence=_licence(card) if card else {})


def name_in_adapter(base: BaseModel, folder: Path) -> None:
    """Let the adapter in an export, if there is one, name its model as others know it, not by its place."""
    path = folder / ADAPTER_FOLDER / ADAPTER_CONFIG
    if path.is_file():
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = base.name
        path.write_text(json.dumps(settings, indent=2), encoding="utf-8")


def front_matter(text: str) -> dict[str, Any]:
    """Return a card's YAML block; an empty one where there is none that can be read."""
    found = _FRONT_MATTER.match(text)
    try:
        values = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return {}
    return values if isinstance(values, dict) else {}


def _licence(card: Path) -> dict[str, str]:
    try:
        values = front_matter(card.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: values[key] for key in LICENCE_KEYS if isinstance(values.get(key), str)}


def _cached_card(hub_name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_name, CARD)
    return Path(found) if isinstance(found, str) else None
