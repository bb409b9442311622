"""A reward actor's child process, seen from outside: started, asked, listened to with a deadline, killed.

Owns the child's pipes and its end, whatever runs in it: nothing here blocks on it, and nothing it writes is
unpickled. Its output is read, so that a flood of it fills neither a pipe nor a disk, and forgotten but for
the last words. It has a session and a mark in its environment of its own, by which what it forked is found
and killed with it. The code inside is `reward_child`; called by `reward`, one call at a time.
"""

import contextlib
import json
import os
import pickle
import secrets
import select
import signal
import struct
import subprocess
import sys
import time
from typing import Any

import psutil

from pgpo_async.actors.reward_child import FRAME_HEADER, MARK_VARIABLE, VerifierSpec

MAX_ANSWER_BYTES = 64 << 20
LAST_WORDS_BYTES = 1000
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pgpo_async.actors.reward_child import main; main(json.loads(sys.argv[2]))"
)
_LOOK_EVERY_S = 0.2
_DYING_S = 1.0  # from a child's pipe being closed to its end
_PIECE_BYTES = 1 << 16
_ROUNDS = 10  # of killing what is forked meanwhile


class ProcessDied(Exception):
    """The child ended, as `message` says. `begun`: it had taken up what it was asked."""

    def __init__(self, message: str, *, begun: bool) -> None:
        super().__init__(message)
        self.message = message
        self.begun = begun


class RewardProcess:
    """One child. The kernel kills it when the *thread* that made it ends, however that comes."""

    def __init__(self, spec: VerifierSpec, max_memory_bytes: int | None) -> None:
        self._mark = secrets.token_hex(8)
        self._is_closed = False
        request_end, self._requests = os.pipe()
        self._answers, answer_end = os.pipe()
        self._output, output_end = os.pipe()
        for end in (self._requests, self._answers, self._output):
            os.set_blocking(end, False)
        settings = {
            "spec": spec,
            "requests": request_end,
            "answers": answer_end,
            "parent_pid": os.getpid(),
            "max_memory_bytes": max_memory_bytes,
        }
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                pass_fds=(request_end, answer_end),
                env={**os.environ, MARK_VARIABLE: self._mark},
                start_new_session=True,
            )
        except BaseException:
            self._close_pipes()
            raise
        finally:
            for end in (request_end, answer_end, output_end):
                os.close(end)
        self._received = bytearray()
        self._last_words = b""
        self._has_output = True

    @property
    def pid(self) -> int:
        """The child's."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._child.poll() is None

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the child to have loaded. Raises TimeoutError, ProcessDied."""
        self._listen("ready", b"", time.monotonic() + timeout_s)

    def ask(self, request: Any, timeout_s: float) -> Any:
        """Send a request and return the answer: plain values. Raises TimeoutError, ProcessDied."""
        data = pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL)
        message = struct.pack("!Q", len(data)) + data
        return self._listen("answer", message, time.monotonic() + timeout_s)

    def kill(self) -> None:
        """End the child and everything it has forked. Idempotent; any thread."""
        if self._child.returncode is None:  # else the number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
        self._child.kill()
        self._child.wait()
        for _ in range(_ROUNDS):
            killed = self._kill_marked()
            if not killed:
                break
            # One that is dying has lost its environment, and runs for another moment.
            _wait_ended(killed)

    def close(self) -> None:
        """Let go of a child that was killed; by whoever asks it."""
        self._close_pipes()

    def last_words(self) -> str:
        """What it wrote last to stdout and stderr, for a message; empty if nothing."""
        text = self._last_words.decode("utf-8", errors="replace").strip()
        return f"; its last output: {text}" if text else ""

    # One call at a time from here on.

    def _listen(self, wanted: str, unsent: bytes, deadline: float) -> Any:
        rest = memoryview(unsent)
        begun = False
        while True:
            while (frame := self._next_frame()) is not None:
                begun = begun or frame["kind"] == "begun"
                if frame["kind"] == wanted:
                    return frame.get("value")
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            ended = not self.alive  # before the last look at the pipe: it may hold the answer
            waited = self._wait(bool(rest), 0.0 if ended else min(left_s, _LOOK_EVERY_S))
            if self._requests in waited:
                rest = rest[self._write(rest[:_PIECE_BYTES]) :]
            if self._output in waited:
                self._note_output()
            received = _read(self._answers) if self._answers in waited else None
            if received:
                self._received += received
            elif ended or received == b"":
                raise ProcessDied(self._how_it_ended() + self.last_words(), begun=begun)

    def _how_it_ended(self) -> str:
        try:
            return f"died with exit code {self._child.wait(_DYING_S)}"
        except subprocess.TimeoutExpired:
            return "closed its pipe"

    def _wait(self, sending: bool, timeout_s: float) -> set[int]:
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        if self._has_output:
            poll.register(self._output, select.POLLIN)
        if sending:
            poll.register(self._requests, select.POLLOUT)
        return {pipe for pipe, _ in poll.poll(timeout_s * 1000)}

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._requests, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:  # nobody will read it: what became of the child shows elsewhere
            return len(data)

    def _note_output(self) -> None:
        output = _read(self._output)
        self._has_output = output != b""
        self._last_words = (self._last_words + (output or b""))[-LAST_WORDS_BYTES:]

    def _next_frame(self) -> Any:
        size = struct.calcsize(FRAME_HEADER)
        if len(self._received) < size:
            return None
        (length,) = struct.unpack(FRAME_HEADER, self._received[:size])
        if length > MAX_ANSWER_BYTES:
            raise ProcessDied(f"answered with {length} bytes, at most {MAX_ANSWER_BYTES}", begun=True)
        if len(self._received) < size + length:
            return None
        body = bytes(self._received[size : size + length])
        del self._received[: size + length]
        try:
            frame = json.loads(body)
            assert isinstance(frame["kind"], str)
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise ProcessDied("wrote something else than an answer into its pipe", begun=True) from error
        return frame

    def _kill_marked(self) -> list[psutil.Process]:
        """Kill what carries the child's mark; what was found."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if not _has_ended(process) and process.environ().get(MARK_VARIABLE) == self._mark:
                    process.kill()
                    found.append(process)
        return found

    def _close_pipes(self) -> None:
        # Once: the numbers are soon another file's.
        if self._is_closed:
            return
        self._is_closed = True
        for end in (self._requests, self._answers, self._output):
            with contextlib.suppress(OSError):
                os.close(end)


def _has_ended(process: psutil.Process) -> bool:
    """Also where nobody reaps it, as in a container without an init."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _wait_ended(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + _DYING_S
    while not all(_has_ended(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.001)


def _read(pipe: int) -> bytes | None:
    """What is there; None if that is nothing yet, empty at the pipe's end."""
    try:
        return os.read(pipe, _PIECE_BYTES)
    except BlockingIOError:
        return None
