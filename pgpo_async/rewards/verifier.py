"""From response texts to rewards: the built-in accuracy and format, or the user's function instead.

Owns the weighing and the refusal of rewards that are no numbers. It has no deadline and no process of its
own: `actors.reward` gives it both. Every failure raises; no failure becomes a 0 (DESIGN 5.5).
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TypeGuard

from pgpo_async.contracts import ConfigError, Prompt, RewardError, RewardTimeout
from pgpo_async.rewards.accuracy import accuracy_reward
from pgpo_async.rewards.format import format_reward
from pgpo_async.rewards.functions import is_async, load_function
from pgpo_async.rewards.recent import RecentVerdicts

WHOLE = "reward"
"""The part that is the total, where a function names it; the only part where it returns a bare number."""
MAX_SIZE = 1e9
"""A larger reward is refused: squares and sums of a group's must stay numbers in 32 bits."""
MAX_PARTS = 100
MAX_MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardParts:
    """One response's reward: `total` goes into the advantage, `parts` into filters and metrics."""

    total: float
    parts: Mapping[str, float]


class Verifier:
    """Scores responses: accuracy and format by weight, or with `function` what it returns.

    A function takes `(response, prompt)` and returns a number, or numbers by name: the one named "reward" is
    the total, without it their sum is. An `async def` is awaited for all texts of a call at once. What a
    function returns is never held: it may look at the images, or draw.
    """

    def __init__(
        self,
        accuracy_weight: float = 0.9,
        format_weight: float = 0.1,
        function: str | None = None,
        tolerance: float = 0.0,
    ) -> None:
        """Raises ConfigError if the function cannot be found or imported, or a number here is unusable."""
        numbers = {"accuracy_weight": accuracy_weight, "format_weight": format_weight, "tolerance": tolerance}
        for name, number in numbers.items():
            if not math.isfinite(number) or number < 0:
                raise ConfigError(f"reward.{name} must be a finite number of at least 0, got {number}")
        self._weights = {"accuracy": accuracy_weight, "format": format_weight}
        self._tolerance = tolerance
        self._name = function
        self._function = None if function is None else load_function(function)
        self._recent = RecentVerdicts()

    @property
    def hits(self) -> int:
        """Built-in verdicts that needed no comparison, so far."""
        return self._recent.hits

    def score(self, texts: Sequence[str], prompt: Prompt) -> list[RewardParts]:
        """Return one reward for each text, in order.

        Raises RewardTimeout if two answers cannot be compared in time, RewardError with reason
        "reward_error" if scoring raises, "reward_invalid" if a function returns anything but numbers of at
        most MAX_SIZE: one bad text fails the group.
        """
        try:
            if self._function is None:
                return [self._builtin(text, prompt) for text in texts]
            if is_async(self._function):
                results = asyncio.run(self._awaited(texts, prompt))
            else:
                results = [self._function(text, prompt) for text in texts]
        except RewardTimeout as error:
            raise RewardTimeout(f"{self._where(prompt)}: {error.message}") from error
        # All of them: whatever a function raises, it must not end the process that scores.
        except BaseException as error:
            message = f"{self._where(prompt)} raised {_told(error)}"
            raise RewardError(message, reason="reward_error") from error
        return [self._read(result, prompt) for result in results]

    async def _awaited(self, texts: Sequence[str], prompt: Prompt) -> list[object]:
        assert self._function is not None
        return list(await asyncio.gather(*(self._function(text, prompt) for text in texts)))  # type: ignore[arg-type]

    def _read(self, result: object, prompt: Prompt) -> RewardParts:
        try:
            return self._checked(result, prompt)
        except RewardError:
            raise
        except Exception as error:  # a mapping of the function's own may raise where it is read
            raise self._invalid(f"what raises {_told(error)} when it is read", prompt) from error

    def _builtin(self, text: str, prompt: Prompt) -> RewardParts:
        accuracy = accuracy_reward(text, prompt.answer, tolerance=self._tolerance, recent=self._recent)
        parts = {"accuracy": accuracy, "format": format_reward(text)}
        return RewardParts(total=sum(self._weights[name] * part for name, part in parts.items()), parts=parts)

    def _checked(self, result: object, prompt: Prompt) -> RewardParts:
        named = result if isinstance(result, Mapping) else {WHOLE: result}
        parts: dict[str, float] = {}
        for name, value in named.items():
            if len(parts) == MAX_PARTS:
                raise self._invalid(f"more than {MAX_PARTS} parts", prompt)
            if not isinstance(name, str) or not _is_usable(value):
                raise self._invalid(f"{_shown(name)}: {_shown(value)}", prompt)
            parts[name] = float(value)
        if not parts:
            raise self._invalid("an empty dict", prompt)
        total = parts.get(WHOLE, sum(parts.values()))
        if abs(total) > MAX_SIZE:
            raise self._invalid(f"parts whose sum is {total}", prompt)
        return RewardParts(total=total, parts=parts)

    def _invalid(self, got: str, prompt: Prompt) -> RewardError:
        message = (
            f"{self._where(prompt)} must return a finite number (at most {MAX_SIZE:g}) or a dict of them by "
            f"name, got {got}"
        )
        return RewardError(message, reason="reward_invalid")

    def _where(self, prompt: Prompt) -> str:
        name = "the built-in reward" if self._name is None else f"reward.function {self._name!r}"
        return f"{name} on prompt {prompt.prompt_id}"


def _is_usable(value: object) -> TypeGuard[Real]:
    try:
        return isinstance(value, Real) and abs(float(value)) <= MAX_SIZE
    except OverflowError:  # of an integer
        return False


def _told(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # an error's own text may raise
        text = "(its text cannot be told)"
    return f"{type(error).__name__}: {text[:MAX_MESSAGE_CHARACTERS]}"


def _shown(value: object) -> str:
    if isinstance(value, str | bytes):
        value = value[:MAX_MESSAGE_CHARACTERS]
    try:
        return repr(value)[:MAX_MESSAGE_CHARACTERS]
    except Exception:  # an integer of more than 4300 digits, for instance
        return f"a {type(value).__name__} that cannot be shown"
