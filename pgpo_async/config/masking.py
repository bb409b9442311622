"""Secrets left out of what is written or printed of a config: values under telling keys, and in URLs.

Owns what counts as a secret, and the text that stands for one. A written config is read again with that
text in it, which `checks` refuses: a secret has to be given again. Called by `dump`, and by messages that
show a value.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

from pgpo_async.config.issues import Path

MASK = "<masked secret>"
"""Stands where a secret was."""

_SECRET_WORDS = frozenset(
    {"token", "secret", "secrets", "password", "passwd", "pwd", "passphrase", "apikey", "credential"}
    | {"credentials", "auth", "authorization", "bearer", "cookie"}
)
_SECRET_PAIRS = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")})
_PLAIN_TOKENS = frozenset({"bos", "eos", "pad", "unk", "image", "video", "stop", "start", "end"})
"""`eos_token` is a word of the model's, no secret."""

_USER_INFO = re.compile(r"(?<=://)[^/\s@]+(?=@)")
_QUERY = re.compile(
    r"([?&](?:[\w.-]*(?:token|secret|password|signature|credential|api_?key)[\w.-]*)=)[^&\s]+", re.IGNORECASE
)
_KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16})\b"
)
_INLINE = re.compile(r"([\w.-]+)(['\"]?\s*:\s*)([^,}\]\s]+)")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def is_secret_key(key: str) -> bool:
    """Whether a key's words say that its value is a secret: `hf_token`, `apiKey`; not `max_num_tokens`."""
    words = [word.lower() for word in _WORDS.findall(key)]
    if _PLAIN_TOKENS.intersection(words) and words[-1] == "token":
        return False
    return bool(_SECRET_WORDS.intersection(words)) or any(
        pair in _SECRET_PAIRS for pair in itertools.pairwise(words)
    )


def masked_text(text: str) -> str:
    """Return a text without credentials in its URLs, and without what looks like a service's token."""
    text = _USER_INFO.sub(MASK, text)
    text = _QUERY.sub(rf"\1{MASK}", text)
    return _KNOWN.sub(MASK, text)


def masked(value: Any, *, secret: bool = False) -> Any:
    """Return a copy of plain values in which every secret text is the mask; numbers and switches stay."""
    if isinstance(value, dict):
        return {key: masked(inner, secret=secret or is_secret_key(str(key))) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, secret=secret) for inner in value]
    if isinstance(value, str) and value:
        return MASK if secret else masked_text(value)
    return value


def masked_override(text: str) -> str:
    """Return `KEY=VALUE` as it may be shown."""
    key, equals, value = text.partition("=")
    if value and any(is_secret_key(part) for part in key.split(".")):
        return f"{key}={MASK}"

    def inline(found: re.Match[str]) -> str:  # {hf_token: ...}
        return found[1] + found[2] + MASK if is_secret_key(found[1]) else found[0]

    return key + equals + masked_text(_INLINE.sub(inline, value))


def mask_places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Iterate the paths of the texts that hold a mask."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from mask_places(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from mask_places(inner, (*path, number))
    elif isinstance(value, str) and MASK in value:
        yield path
