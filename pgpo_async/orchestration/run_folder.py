"""The run folder: everything a run leaves behind, made before anything else starts.

config.yaml       the resolved configuration; `launch` reads it as it is
metrics.jsonl     one line a step
quarantine.jsonl  what could not be used, with its reason
summary.json      written at the end, however the run ended
checkpoints/      the learner's
model/            the trained model, as transformers and vLLM load it
"""

import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgpo_async.config import dump_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError


class RunFolder:
    """A new folder under `output_dir`, named by run name and time, never one that exists."""

    def __init__(self, config: RunConfig) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", config.name).strip("-") or "run"
        self.run_id = f"{name}-{stamp}-{secrets.token_hex(2)}"
        self.path = (config.output_path / self.run_id).absolute()
        try:
            self.path.mkdir(parents=True)
            self._write("config.yaml", dump_config(config))
        except OSError as error:
            where = getattr(error, "filename", None) or self.path
            raise ConfigError(
                f"output_dir: cannot write the run folder {self.path}: {error.strerror} ({where}); "
                "choose a folder you may write with output_dir=FOLDER"
            ) from error

    @property
    def checkpoints(self) -> Path:
        """Where the learner's checkpoints go."""
        return self.path / "checkpoints"

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
        self._append("metrics.jsonl", values)

    def log_quarantine(self, record: Mapping[str, Any]) -> None:
        """Append one line to `quarantine.jsonl`."""
        self._append("quarantine.jsonl", record)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`, whole or not at all."""
        self._write("summary.json", json.dumps(summary, indent=2) + "\n")

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def _write(self, name: str, text: str) -> None:
        partial = self.path / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, self.path / name)
