"""What runs inside a reward actor's child process: scoring, on the main thread, killable from outside.

Owns the child's start (it dies with its actor, it loads the library before the first deadline runs) and its
one verifier. Imports no Ray. Called by `reward` through the process pool.
"""

import contextlib
import ctypes
import functools
import os
import signal
from collections.abc import Sequence

from pgpo_async.contracts import Prompt
from pgpo_async.rewards import symbolic
from pgpo_async.rewards.verifier import RewardParts, Verifier

VerifierSpec = tuple[float, float, str | None]
"""Accuracy weight, format weight, function: what a `Verifier` is made of."""

_PR_SET_PDEATHSIG = 1


def start_child(spec: VerifierSpec, parent_pid: int) -> None:
    """Prepare a new child: tie it to its parent's life, then load what scoring needs."""
    die_with_parent(parent_pid)
    # What fails here fails again in the first task, where it can be reported.
    with contextlib.suppress(Exception):
        warm_up(spec)


def warm_up(spec: VerifierSpec) -> None:
    """Load the verifier and, where it may need it, math-verify. Raises ConfigError as `Verifier` does."""
    _verifier(spec)
    if spec[2] is None:
        symbolic.warm_up()


def score_texts(spec: VerifierSpec, texts: Sequence[str], prompt: Prompt) -> list[RewardParts]:
    """Score a group's responses. Raises RewardError and ConfigError as `Verifier` does."""
    return _verifier(spec).score(texts, prompt)


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends, however that comes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) must succeed")
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(1)


@functools.lru_cache(maxsize=1)
def _verifier(spec: VerifierSpec) -> Verifier:
    return Verifier(*spec)
