"""The error tree. Every error crosses process borders, so every one pickles with its fields.

    PgpoError
    |- ConfigError (ValueError)        the user's configuration; lists every issue; exit code 2
    |- PromptError (ValueError)        one prompt cannot be used; it is quarantined with the reason
    |- RewardError (RuntimeError)      a reward failed; its group is quarantined, never rewarded 0
    |  `- RewardTimeout               a reward did not answer by its deadline
    |- WaitTimeout (TimeoutError)      a wait ended without what it waited for; names what and how long
    |- LeaseError (LookupError)        a lease or slot is unknown or has expired; the work is dropped
    |- WeightError (RuntimeError)      weights are missing, torn, or fail their checksum
    |- JournalError (RuntimeError)     a journal is damaged, has another writer, or could not be written
    `- StageFailed (RuntimeError)      a role of the pipeline can no longer work; the run ends

Each is also a standard-library type, so that callers may catch what they know.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgpo_async.contracts.rollouts import Prompt


class PgpoError(Exception):
    """Base of all errors raised on purpose; keyword fields survive pickling."""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self._fields = fields
        for name, value in fields.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self._fields)


def plain(error: BaseException) -> BaseException:
    """Return an error as it was raised in the other process, without what Ray wraps around it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def _rebuild(kind: type[PgpoError], message: str, fields: dict[str, Any]) -> PgpoError:
    error = kind.__new__(kind)
    PgpoError.__init__(error, message, **fields)
    return error


class ConfigError(PgpoError, ValueError):
    """The configuration is unusable; `issues` holds one line for each thing wrong."""

    issues: tuple[str, ...]

    def __init__(self, issues: Sequence[str] | str) -> None:
        lines = (issues,) if isinstance(issues, str) else tuple(issues)
        super().__init__("\n".join(lines), issues=lines)


class PromptError(PgpoError, ValueError):
    """A prompt cannot be used; `reason` is a short stable word that is counted.

    `prompt` is as much of it as could be read, for the quarantine record; None where others have it.
    """

    reason: str
    prompt_id: str
    prompt: "Prompt | None"

    def __init__(self, message: str, *, reason: str, prompt_id: str, prompt: "Prompt | None" = None) -> None:
        super().__init__(message, reason=reason, prompt_id=prompt_id, prompt=prompt)


class RewardError(PgpoError, RuntimeError):
    """A reward function failed on a group; `reason` is a short stable word that is counted."""

    reason: str

    def __init__(self, message: str, *, reason: str = "reward_error") -> None:
        super().__init__(message, reason=reason)


class RewardTimeout(RewardError):
    """A reward function did not answer within its deadline."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="reward_timeout")


class WaitTimeout(PgpoError, TimeoutError):
    """Waited too long; `waiting_for` names what, `waited_s` says how long."""

    waiting_for: str
    waited_s: float

    def __init__(self, waiting_for: str, waited_s: float, hint: str = "") -> None:
        message = f"waited {waited_s:.1f} s for {waiting_for}" + (f": {hint}" if hint else "")
        super().__init__(message, waiting_for=waiting_for, waited_s=waited_s)


class LeaseError(PgpoError, LookupError):
    """A group is not (or no longer) held by the caller; whatever it brings is dropped."""


class WeightError(PgpoError, RuntimeError):
    """Weights are missing, torn, or do not match their manifest."""


class JournalError(PgpoError, RuntimeError):
    """A journal is damaged, is open elsewhere, or cannot be written; the message names file and reason."""


class StageFailed(PgpoError, RuntimeError):
    """A role can no longer work; `role` names it."""

    role: str

    def __init__(self, message: str, *, role: str) -> None:
        super().__init__(message, role=role)
