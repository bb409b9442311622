"""What runs inside a check's own process: the check, its lines written down as they come.

Each is a JSON object in the pipe; the last one says how the check failed, if it did. Started by `alone`, at
the other end.
"""

import json
import os
import pickle
import sys
from dataclasses import asdict
from typing import Any

from pgpo_async.actors.process_mark import mark_process
from pgpo_async.actors.reward_child import die_with_parent
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.doctor.lines import in_words


def main(results: int, parent_pid: int) -> None:
    """Read a check from stdin, run it, and leave whatever threads it has started."""
    die_with_parent(parent_pid)
    # By this mark the next doctor, or run, knows what outlived this one.
    mark_process(f"doctor-{parent_pid}")
    os.set_inheritable(results, False)
    try:
        look = pickle.load(sys.stdin.buffer)
        for line in look():
            _write(results, asdict(line))
        failed = ""
    except ConfigError as error:
        failed = "; ".join(error.issues)
    except BaseException as error:  # libraries call sys.exit, too
        failed = f"failed: {in_words(error)}"
    _write(results, {"failed": failed})
    os._exit(0)


def _write(pipe: int, value: dict[str, Any]) -> None:
    data = memoryview(json.dumps(value).encode() + b"\n")
    while data:
        data = data[os.write(pipe, data) :]
