"""What runs inside a reward actor's child process: scoring, on the main thread, killable from outside.

Owns the child's start (it dies with its actor, it bounds its own memory, it loads the library before the
first deadline runs), its one verifier, and that a call leaves nothing behind for the next: working folder,
timers, forks that came back. Imports no Ray. Started by `reward_process`, at the other end of its pipes:

    requests    8 bytes of length, a pickled ("warm up",) or ("score", texts, prompt)
    answers     8 bytes of length, JSON: ready, begun, and for each request one answer
"""

import contextlib
import ctypes
import functools
import json
import os
import pickle
import resource
import signal
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pgpo_async.contracts import ConfigError, Prompt, RewardError
from pgpo_async.rewards import symbolic
from pgpo_async.rewards.verifier import Verifier

VerifierSpec = tuple[float, float, str | None, float]
"""Accuracy weight, format weight, function, tolerance: what a `Verifier` is made of."""

MARK_VARIABLE = "PGPO_ASYNC_REWARD_PROCESS"
"""Environment variable by which what the child forks is known as its own."""
FRAME_HEADER = "!Q"

_PR_SET_PDEATHSIG = 1


def main(settings: Mapping[str, Any]) -> None:
    """Serve requests until the pipe closes; `settings` are those of `RewardProcess`."""
    die_with_parent(settings["parent_pid"])
    _limit(settings["max_memory_bytes"])
    accuracy_weight, format_weight, function, tolerance = settings["spec"]
    spec: VerifierSpec = (accuracy_weight, format_weight, function, tolerance)
    own_pid, home = os.getpid(), os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    # What fails here fails again in the first request, where it can be reported.
    with contextlib.suppress(BaseException):
        warm_up(spec)
    _answer(settings["answers"], "ready")
    while (request := _read_request(settings["requests"])) is not None:
        _answer(settings["answers"], "begun")
        value = _serve(spec, request)
        if os.getpid() != own_pid:
            os._exit(0)  # a fork that the function made, and that came back from it as well
        _answer(settings["answers"], "answer", value)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        os.fchdir(home)
    os._exit(0)  # a thread that the function left running is not waited for


def warm_up(spec: VerifierSpec) -> None:
    """Load the verifier and, where it may need it, math-verify. Raises ConfigError as `Verifier` does."""
    _verifier(spec)
    if spec[2] is None:
        symbolic.warm_up()


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends, however that comes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) must succeed")
    if os.getppid() != parent_pid:  # it ended before we asked
        os._exit(1)


def _limit(max_memory_bytes: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if max_memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    # Where memory runs out all the same: the kernel should take this process, not the actor or Ray.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _serve(spec: VerifierSpec, request: tuple[Any, ...]) -> dict[str, Any]:
    try:
        if request[0] == "warm up":
            warm_up(spec)
            return {"scores": []}
        scores = _scores(spec, request[1], request[2])
        return {"scores": scores, "hits": _verifier(spec).hits}
    except ConfigError as error:
        return {"config": list(error.issues)}
    except RewardError as error:
        return {"message": error.message, "reason": error.reason}
    except BaseException as error:  # of the machinery's own: the function's are RewardErrors by now
        return {"message": f"{type(error).__name__}: {error}", "reason": "reward_error"}


def _scores(spec: VerifierSpec, texts: Sequence[str], prompt: Prompt) -> list[tuple[float, dict[str, float]]]:
    return [(scored.total, dict(scored.parts)) for scored in _verifier(spec).score(texts, prompt)]


@functools.lru_cache(maxsize=1)
def _verifier(spec: VerifierSpec) -> Verifier:
    return Verifier(*spec)


def _read_request(pipe: int) -> Any:
    header = _read_exactly(pipe, struct.calcsize(FRAME_HEADER))
    if header is None:
        return None
    body = _read_exactly(pipe, struct.unpack(FRAME_HEADER, header)[0])
    return None if body is None else pickle.loads(body)


def _read_exactly(pipe: int, num_bytes: int) -> bytes | None:
    pieces = []
    while num_bytes:
        piece = os.read(pipe, min(num_bytes, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        num_bytes -= len(piece)
    return b"".join(pieces)


def _answer(pipe: int, kind: str, value: Any = None) -> None:
    body = json.dumps({"kind": kind, "value": value}).encode()
    data = memoryview(struct.pack(FRAME_HEADER, len(body)) + body)
    while data:
        data = data[os.write(pipe, data) :]
