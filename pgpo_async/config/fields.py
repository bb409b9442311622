"""The schema as a user meets it: which keys belong where, and what an unknown key was meant to be."""

import difflib
from collections.abc import Iterator
from typing import Any

from pgpo_async.config.base import Section
from pgpo_async.config.issues import Path, field_name
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.shapers import DEFAULT_SHAPER, SHAPER_PARAMS, ShaperConfig

EXTENDS = "extends"
"""A key of a run's file, which its schema does not know."""


def closest(word: str, known: list[str]) -> str | None:
    """Return the known word that was probably meant, or None."""
    return next(iter(difflib.get_close_matches(word, known, n=1)), None)


def unknown_key(path: Path, values: Any, schema: type[Section]) -> str:
    """Say what is wrong with a key that its section does not have.

    `values` is the whole raw config, `schema` the section at its top.
    """
    section_path, key = path[:-1], str(path[-1])
    if key == EXTENDS:
        return "unknown key, it can only be at the top of a run's config file"
    here = list(_section_at(section_path, values, schema).model_fields)
    elsewhere = [
        f"`{field_name(other)}`" if other else "the top level"
        for other, section in _sections(schema, ())
        if key in section.model_fields and other != section_path
    ]
    if elsewhere:
        return f"unknown key, `{key}` belongs to {' or '.join(elsewhere)}"
    if schema is not RunConfig and key in RunConfig.model_fields:
        return f"unknown key, `{key}` is of a run: set it in `common` or in a method"
    if meant := closest(key, [*here, EXTENDS] if schema is RunConfig and not section_path else here):
        return f"unknown key, did you mean `{meant}`?"
    if not here:
        return "unknown key, there are none to set here"
    return "unknown key, must be one of " + ", ".join(f"`{name}`" for name in here)


def _sections(section: type[Section], path: Path) -> Iterator[tuple[Path, type[Section]]]:
    yield path, section
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from _sections(info.annotation, (*path, name))
        elif section is ShaperConfig and name == "params":
            for params in SHAPER_PARAMS.values():
                yield (*path, name), params


def _section_at(path: Path, values: Any, section: type[Section]) -> type[Section]:
    for key in path:
        if section is ShaperConfig:
            return SHAPER_PARAMS[values.get("name", DEFAULT_SHAPER)]
        annotation = section.model_fields[str(key)].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, Section)
        section, values = annotation, values[key]
    return section
