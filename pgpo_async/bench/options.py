"""What `bench policy` measures, and its peers, checked before torch is loaded. Called by the command line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgpo_async.contracts import ConfigError

MODELS = ("tiny", "3b-like", "3b")
IMAGE_TOKENS = (300, 1280)
ATTENTION = ("auto", "flash", "math")
PEERS = ("trl",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The command line's options; without models those that fit the device, without one a GPU or the CPU.

    Raises ConfigError with a line for each option that is none.
    """

    models: tuple[str, ...] = ()
    image_tokens: tuple[int, ...] = IMAGE_TOKENS
    repeats: int = 3
    device: str = ""
    head: bool = True
    attention: str = "auto"
    peer: str = ""

    def __post_init__(self) -> None:
        issues = [
            *unknown("model", self.models, MODELS),
            *unknown("images", self.image_tokens, IMAGE_TOKENS),
            *unknown("device", [self.device] if self.device else [], ("cpu", "cuda")),
            *unknown("attention", [self.attention], ATTENTION),
            *unknown("peer", [self.peer] if self.peer else [], PEERS),
        ]
        if issues:
            raise ConfigError(issues)


def unknown(option: str, values: Iterable[object], allowed: Sequence[object]) -> list[str]:
    """Return a message for each value that is not allowed."""
    names = ", ".join(map(str, allowed))
    return [f"--{option}: must be one of {names}, got {value}" for value in values if value not in allowed]
