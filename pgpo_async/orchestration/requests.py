"""Requests to a running job, as files in its run folder: whoever can write there can ask, from any shell.

    requests/ID.json           {"scale": {"generator": 4}}, renamed into place, taken by the driver
    requests/ID.answer.json    {"ok": true, "text": "..."}, taken by whoever asked

Owns the files. What is done about a request is the caller's. Needs no Ray on the asking side, and works while
the job waits for something.
"""

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pgpo_async.contracts import ConfigError, PgpoError, WaitTimeout
from pgpo_async.metrics.run_lock import is_locked

POLL_S = 0.2
ANSWER = ".answer.json"


class Inbox:
    """The driver's side."""

    def __init__(self, run: Path, do: Callable[[Mapping[str, Any]], str]) -> None:
        """`do` returns what to answer; what it raises of our own errors is answered, too."""
        self._folder = run / "requests"
        self._do = do

    def serve(self) -> None:
        """Do what is asked, if there is anything."""
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.glob("*.json")):
            if path.name.endswith(ANSWER):
                continue
            ok, text = self._answer(path)
            path.unlink(missing_ok=True)
            _write(path.with_name(path.stem + ANSWER), {"ok": ok, "text": text})

    def _answer(self, path: Path) -> tuple[bool, str]:
        try:
            return True, self._do(json.loads(path.read_text(encoding="utf-8")))
        except PgpoError as error:
            return False, error.message
        except (OSError, ValueError, TypeError, KeyError) as error:
            return False, f"the request cannot be read: {error!r}"


def ask(run: Path, request: Mapping[str, Any], *, timeout_s: float) -> str:
    """Ask the job of a run folder; return its answer.

    Raises ConfigError if there is no such run, it does not run, or it refuses; WaitTimeout if it does not
    answer.
    """
    if not (run / "config.yaml").is_file():
        raise ConfigError(f"{run} must be a run folder, with its config.yaml")
    if not is_locked(run):
        raise ConfigError(f"{run} is not running")
    folder = run / "requests"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.time():.3f}-{secrets.token_hex(3)}.json"
    _write(path, request)
    answer = path.with_name(path.stem + ANSWER)
    deadline = time.monotonic() + timeout_s
    while not answer.exists():
        if time.monotonic() > deadline:
            path.unlink(missing_ok=True)
            raise WaitTimeout(f"the job of {run.name} to answer", timeout_s)
        time.sleep(POLL_S)
    said = json.loads(answer.read_text(encoding="utf-8"))
    answer.unlink()
    if not said["ok"]:
        raise ConfigError(str(said["text"]))
    return str(said["text"])


def _write(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    os.replace(partial, path)
