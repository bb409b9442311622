"""From an image entry of a data row to its encoded bytes, within limits; nothing is ever fetched.

Owns where images may come from: bytes in the row, base64, a file below the data file's folder. Links out of
it, other kinds of files than regular ones, and URLs are refused unless the config allows them. What the bytes
hold is `policy.decoding`'s work. Called by `rows`.
"""

import base64
import binascii
import os
import re
import stat
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgpo_async.config.inputs import DataConfig, ModelConfig

_URL = re.compile(r"[a-z][a-z0-9+.-]*://|data:|file:", re.IGNORECASE)
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRules:
    """What the images of a data file's row may be; see `DataConfig`, whose fields have the same names."""

    require_image: bool = False
    max_images: int | None = None
    max_image_bytes: int = 64 << 20
    max_image_pixels: int = 89_478_485
    allow_outside_paths: bool = False
    allow_image_urls: bool = False

    @classmethod
    def of(cls, data: DataConfig, model: ModelConfig) -> "ImageRules":
        """The rules that a config states."""
        return cls(
            require_image=data.require_image,
            max_images=model.max_images_per_prompt,
            max_image_bytes=data.max_image_bytes,
            max_image_pixels=data.max_image_pixels,
            allow_outside_paths=data.allow_outside_paths,
            allow_image_urls=data.allow_image_urls,
        )


class Unusable(ValueError):
    """Something in a row that no prompt can be made of; `reason` is the word that is counted."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def image_bytes(entry: object, folder: Path, rules: ImageRules) -> bytes:
    """Return the encoded bytes of an entry: bytes, {"bytes", "path"} (the Hub's Image feature), or a path.

    Paths are relative to `folder`. Raises Unusable with reason "image_too_large", "image_url",
    "outside_path", "corrupt_image" (no base64) or "unreadable_row" (no such file, or no image at all).
    """
    given = entry
    if isinstance(entry, Mapping):
        inner = entry.get("bytes")
        if isinstance(inner, str):  # JSON has no bytes
            return _from_base64(inner, rules)
        entry = inner if inner is not None else entry.get("path")
    if isinstance(entry, bytes):
        _check_size(len(entry), rules)
        return entry
    if not isinstance(entry, str) or not entry:
        raise Unusable(
            f"image must be bytes, {{bytes, path}} or a path, got {shown(given)}", "unreadable_row"
        )
    if _URL.match(entry):
        return _from_url(entry, folder, rules)
    return _from_file(entry, folder, rules)


def shown(value: object) -> str:
    """Return a value as a message may hold it, cut to a line."""
    if isinstance(value, str | bytes):
        value = value[: _SHOWN_CHARACTERS + 1]
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def _check_size(num_bytes: int, rules: ImageRules) -> None:
    if num_bytes > rules.max_image_bytes:
        raise Unusable(
            f"image must have at most {rules.max_image_bytes} bytes (data.max_image_bytes), got {num_bytes}",
            "image_too_large",
        )


def _from_base64(text: str, rules: ImageRules) -> bytes:
    _check_size(len(text) * 3 // 4 - 2, rules)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"image bytes in JSON must be base64, got {shown(text)}"
        raise Unusable(message, "corrupt_image") from error


def _from_url(url: str, folder: Path, rules: ImageRules) -> bytes:
    scheme, _, rest = url.partition(":")
    if scheme.lower() not in ("data", "file"):
        raise Unusable(
            f"image must be bytes or a path, got the URL {shown(url)}: nothing is downloaded, fetch the "
            "images before the run",
            "image_url",
        )
    if not rules.allow_image_urls:
        raise Unusable(
            f"image must be bytes or a path, got the URL {shown(url)} (data.allow_image_urls)", "image_url"
        )
    if scheme.lower() == "file":
        host, path = re.fullmatch(r"(?://([^/]*))?(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
        if host not in (None, "", "localhost"):
            raise Unusable(f"a file: URL must be of this machine, got {shown(url)}", "image_url")
        return _from_file(urllib.parse.unquote(path), folder, rules)
    kind, comma, content = rest.partition(",")
    if not comma or not kind.lower().endswith(";base64"):
        raise Unusable(f"a data: URL must be base64, got {shown(url)}", "corrupt_image")
    return _from_base64(content, rules)


def _from_file(text: str, folder: Path, rules: ImageRules) -> bytes:
    try:
        path = _resolved(text, folder, rules)
        _check_regular(path, path.stat())
        # Should it become a pipe meanwhile, opening it must not wait for a writer; a link is not followed.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(path, flags), "rb") as file:
            state = os.fstat(file.fileno())
            _check_regular(path, state)
            _check_size(state.st_size, rules)
            data = file.read(rules.max_image_bytes + 1)
    except Unusable:
        raise
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # a NUL is a ValueError, a loop of links either
        message = f"image file {shown(text)} must be readable: {error}"
        raise Unusable(message, "unreadable_row") from error
    _check_size(len(data), rules)
    return data


def _resolved(text: str, folder: Path, rules: ImageRules) -> Path:
    path = (folder / Path(text)).resolve(strict=True)
    if not rules.allow_outside_paths and not path.is_relative_to(folder.resolve()):
        raise Unusable(
            f"image path must stay in the data file's folder, got {shown(text)}, which is outside of it "
            "(data.allow_outside_paths)",
            "outside_path",
        )
    return path


def _check_regular(path: Path, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise Unusable(f"image file {shown(str(path))} must be a regular file", "unreadable_row")
