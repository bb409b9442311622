"""Every answer of an evaluation, one JSON line each, so that one that was killed goes on where it was.

A prompt's lines are written together; a prompt of which some are missing was not answered. Owns the file
`answers.jsonl` and what of it is kept. Written by one process.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgpo_async.contracts import ConfigError, RolloutGroup

NAME = "answers.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """One prompt's responses, without their texts: accuracy of each, tokens of each, how many were cut."""

    accuracies: tuple[float, ...]
    num_tokens: tuple[int, ...]
    num_cut: int

    @property
    def accuracy(self) -> float:
        """The share of right responses."""
        return sum(self.accuracies) / len(self.accuracies)


Books = dict[str, dict[str, Answered]]
"""By benchmark and prompt id."""


class AnswerFile:
    """Of one evaluation with `num_samples` responses to a prompt; `answered` is what the file holds.

    What an earlier process left unfinished is taken out of the file. Raises ConfigError if it cannot be
    written.
    """

    def __init__(self, folder: Path, num_samples: int, part: str) -> None:
        self._path = folder / NAME
        self._part = part
        self.answered: Books = read_answers(folder, num_samples)
        try:
            self._drop_unfinished()
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError(f"{self._path} must be writable: {error.strerror}") from error

    def add(self, benchmark: str, group: RolloutGroup) -> None:
        """Write a prompt's answers. Raises ConfigError where the disk does not take them."""
        lines = b"".join(_line(benchmark, group, number, self._part) for number in range(len(group.rollouts)))
        size = self._path.stat().st_size
        try:
            written = self._file.write(lines)
            if written < len(lines):
                raise OSError(28, "No space left on device")
        except OSError as error:
            os.truncate(self._path, size)
            raise ConfigError(
                f"{self._path} cannot be written: {error.strerror}; make room and start again"
            ) from error
        books = self.answered.setdefault(benchmark, {})
        books[group.prompt.prompt_id] = _answered([json.loads(line) for line in lines.splitlines()])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _drop_unfinished(self) -> None:
        kept = self._path.with_name(f".{NAME}.partial")
        dropped = False
        with kept.open("wb") as file:
            for line, row in _rows(self._path):
                whole = row is not None and row["prompt_id"] in self.answered.get(row["benchmark"], {})
                dropped |= not whole
                if whole:
                    file.write(line)
        if dropped:
            os.replace(kept, self._path)
        else:
            kept.unlink()


def read_answers(folder: Path, num_samples: int) -> Books:
    """Return what a folder's answers say of each prompt that has all its `num_samples` responses."""
    open_rows: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    books: Books = {}
    for _, row in _rows(folder / NAME):
        if row is None:
            continue
        key = (row["benchmark"], row["prompt_id"])
        rows = open_rows.setdefault(key, [])
        rows.append({name: row[name] for name in ("accuracy", "num_tokens", "finish_reason")})
        if len(rows) == num_samples:
            books.setdefault(key[0], {})[key[1]] = _answered(open_rows.pop(key))
    return books


def _rows(path: Path) -> Iterator[tuple[bytes, Mapping[str, Any] | None]]:
    """Each line, with what it says; None for one that was torn."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                row = None
            yield line, row if isinstance(row, dict) else None


def _answered(rows: list[Mapping[str, Any]]) -> Answered:
    return Answered(
        accuracies=tuple(float(row["accuracy"]) for row in rows),
        num_tokens=tuple(int(row["num_tokens"]) for row in rows),
        num_cut=sum(row["finish_reason"] == "length" for row in rows),
    )


def _line(benchmark: str, group: RolloutGroup, number: int, part: str) -> bytes:
    rollout = group.rollouts[number]
    values = {
        "benchmark": benchmark,
        "prompt_id": group.prompt.prompt_id,
        "sample": number,
        "accuracy": rollout.reward_parts[part],
        "reward": rollout.reward,
        "parts": dict(rollout.reward_parts),
        "num_tokens": len(rollout.response_token_ids),
        "finish_reason": rollout.finish_reason,
        "answer": group.prompt.answer,
        "text": rollout.text,
    }
    return (json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8", errors="replace")
