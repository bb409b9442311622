"""The run folder: everything a run leaves behind, made before anything else starts.

config.yaml           the resolved configuration, without its secrets; `launch` reads it as it is
                      (config-1.yaml: before the first resume)
metrics.jsonl         one line a step
rolled_back.jsonl     its lines of steps that were done again after the last checkpoint
evaluations.jsonl     held-out accuracy while training went on, one line an evaluation (see `evaluators`)
events.jsonl          what happened: deaths, restarts, resumes, warnings
quarantine.parquet    what could not be used, with reason, error and input (see `quarantine_file`)
skipped/              the batches of steps that updated nothing (see `skipped_steps`)
status.json           how it stands, while it goes on (see `status_file`)
samples/              whole groups of some steps (see `samples`)
summary.json          written at the end, however the run ended
journal/              what outlives the replay queue's process
checkpoints/          the learner's
model/                the trained model, as transformers and vLLM load it

What only tells of the run does not end it: where such a file cannot be written, the folder says so once and
counts, and at the end tells what is missing.
"""

import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.actors.queue_types import Quarantined
from pgpo_async.config import dump_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.metrics.run_lock import LOCK_NAME
from pgpo_async.metrics.strict_json import strict
from pgpo_async.orchestration import quarantine_file
from pgpo_async.orchestration.quarantine_file import QuarantineFile
from pgpo_async.orchestration.status_reader import STATUS_NAME
from pgpo_async.report.run_files import JsonLines, as_count

EVALUATIONS = "evaluations.jsonl"

logger = logging.getLogger(__name__)


class RunFolder:
    """A new folder under `output_dir`, named by run name and time, never one that exists; or, to go on with
    an earlier run, `existing`.

    `session_id` names what the processes of this start leave on a machine; `former_sessions` those before.
    `say` is told, once a file, what cannot be written.
    """

    def __init__(self, config: RunConfig, *, existing: Path | None = None) -> None:
        if existing is None:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", config.name).strip("-") or "run"
            self.run_id = f"{name}-{stamp}-{secrets.token_hex(2)}"
            self.path = (config.output_path / self.run_id).absolute()
        else:
            self.run_id, self.path = existing.name, existing
        self.resumed = existing is not None
        self.say: Callable[[str], None] = logger.warning
        self._failures: dict[str, int] = {}
        self.num_warnings = 0
        self.num_rolled_back = 0
        try:
            self.path.mkdir(parents=True, exist_ok=self.resumed)
            self._lock = FileLock(self.path / LOCK_NAME)
            if not self._lock.try_lock(shared=False):
                raise ConfigError(f"{self.path} is still running: its driver holds {LOCK_NAME}")
            former = self._keep_former()
            self._write("config.yaml", dump_config(config))
        except OSError as error:
            where = getattr(error, "filename", None) or self.path
            raise ConfigError(
                f"output_dir: cannot write the run folder {self.path}: {error.strerror} ({where}); "
                "choose a folder you may write with output_dir=FOLDER"
            ) from error
        self._quarantine = QuarantineFile(self.path)
        self.former_sessions = tuple(self._session(number) for number in range(former))
        self.session_id = self._session(former)

    def _session(self, number: int) -> str:
        return f"{self.run_id}.{number}" if number else self.run_id

    def _keep_former(self) -> int:
        """Put aside what this start will write anew; return how many starts there were."""
        former = len(list(self.path.glob("config-*.yaml"))) + self.resumed
        if self.resumed:
            # Copied, not moved: a folder without its config, were we killed here, would be no run.
            shutil.copyfile(self.path / "config.yaml", self.path / f"config-{former}.yaml")
            for name in ("summary.json", "timeline.json"):
                path = self.path / name
                if path.exists():
                    path.rename(path.with_name(f"{path.stem}-{former}{path.suffix}"))
            shutil.rmtree(self.model, ignore_errors=True)
        return former

    def unlock(self) -> None:
        """Let another driver go on with the run."""
        self._lock.close()

    @property
    def checkpoints(self) -> Path:
        """Where the learner's checkpoints go."""
        return self.path / "checkpoints"

    @property
    def journal(self) -> Path:
        """What outlives the replay queue's process."""
        return self.path / "journal"

    @property
    def model(self) -> Path:
        """Where the trained model goes."""
        return self.path / "model"

    @property
    def timeline(self) -> Path:
        """Where what every actor did goes (`trace: true`)."""
        return self.path / "timeline.json"

    def log_step(self, values: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        self.try_to_write("metrics.jsonl", lambda: self._append("metrics.jsonl", values))

    def roll_back(self, step: int) -> int:
        """Move the lines of later steps out of `metrics.jsonl`, into `rolled_back.jsonl`; return how many."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept: list[str] = []
        undone: list[str] = []
        for line in lines:
            with suppress(ValueError):  # a line torn by a crash is of a step that is undone anyway
                (kept if json.loads(line)["step"] <= step else undone).append(line)
        for line in undone:
            self._append("rolled_back.jsonl", json.loads(line))
        if len(kept) < len(lines):
            self._write("metrics.jsonl", "".join(f"{line}\n" for line in kept))
        self.num_rolled_back += len(undone)
        self._forget_evaluations(step)
        return len(undone)

    def _forget_evaluations(self, step: int) -> None:
        """Take back what was said of later weights: those steps are done again, and evaluated again."""
        path = self.path / EVALUATIONS
        if path.exists():
            kept = [line for line in JsonLines(path) if (as_count(line.get("step")) or 0) <= step]
            self._write(EVALUATIONS, "".join(json.dumps(line) + "\n" for line in kept))

    def tell(self, text: str) -> None:
        """Show a line, and keep it with the run's events."""
        self.say(text)
        self.log_event(text)

    def log_event(self, text: str) -> None:
        """Append one line to `events.jsonl`: what happened to the run, and when."""
        self.num_warnings += text.startswith("warning: ")
        event = {"time_s": time.time(), "event": text}
        self.try_to_write("events.jsonl", lambda: self._append("events.jsonl", event))

    def log_evaluation(self, values: Mapping[str, Any]) -> None:
        """Append one line to `evaluations.jsonl`."""
        self.try_to_write(EVALUATIONS, lambda: self._append(EVALUATIONS, values))

    def log_quarantine(self, records: Sequence[Quarantined]) -> None:
        """Add records to `quarantine.parquet`; those that could not be written are tried again."""
        self.try_to_write(quarantine_file.NAME, lambda: self._quarantine.add(records))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`, whole or not at all."""
        text = json.dumps(strict(summary), indent=2, allow_nan=False) + "\n"
        self.try_to_write("summary.json", lambda: self._write("summary.json", text))

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write `status.json`, whole or not at all."""
        text = json.dumps(strict(status), allow_nan=False) + "\n"
        self.try_to_write(STATUS_NAME, lambda: self._write(STATUS_NAME, text))

    @property
    def num_failures(self) -> int:
        """Writes that failed so far."""
        return sum(self._failures.values())

    def close(self) -> None:
        """Leave `quarantine.parquet` whole."""
        failures = self._failures.pop(quarantine_file.NAME, 0)  # made good if this succeeds
        self.try_to_write(quarantine_file.NAME, self._quarantine.close)
        if quarantine_file.NAME in self._failures:
            self._failures[quarantine_file.NAME] += failures

    def try_to_write(self, name: str, write: Callable[[], None]) -> None:
        """Write what the run can do without; say so, once, if it cannot be written."""
        try:
            write()
        except OSError as error:
            if name not in self._failures:
                self.say(
                    f"warning: cannot write {self.path / name}: {error.strerror or error}; the run goes on "
                    "without it: make room on that disk, or let the run write elsewhere (output_dir=FOLDER)"
                )
            self._failures[name] = self._failures.get(name, 0) + 1

    def missing(self) -> list[str]:
        """Return a line for each file that is not what it should be."""
        lines = [f"{name}: could not be written {num} times" for name, num in self._failures.items()]
        if self._quarantine.num_not_kept:
            lines.append(
                f"{quarantine_file.NAME}: {self._quarantine.num_not_kept} records are only counted, it holds "
                f"{quarantine_file.MAX_RECORDS}"
            )
        return lines

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        path = self.path / name
        line = (json.dumps(strict(values), allow_nan=False) + "\n").encode()
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab", buffering=0) as file:
                written = file.write(line)
                if written < len(line):  # what was left of a full disk
                    file.write(line[written:])
        except OSError:
            # No torn line: the next one would be appended to it.
            with suppress(OSError):
                os.truncate(path, size)
            raise

    def _write(self, name: str, text: str) -> None:
        partial = self.path / f".{name}.partial"
        try:
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, self.path / name)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
