"""The groups that a generator is working on, and the ending of those that have become too old to train.

Called by `generator`; the replay queue says which are too old.
"""

import asyncio
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Group:
    task: "asyncio.Task[Any]"
    version: int


class InFlight:
    """Groups by id, each with its task and the weights that its first token came from."""

    def __init__(self, name: str, queue: Any) -> None:
        self._name = name
        self._queue = queue
        self._groups: dict[str, _Group] = {}
        self._over_age: set[str] = set()
        self.num_cancelled = 0

    def __len__(self) -> int:
        return len(self._groups)

    def begin(self, group_id: str, version: int) -> None:
        """Note that the calling task samples a group, from now on, with weights `version` or newer."""
        task = asyncio.current_task()
        assert task is not None
        self._groups[group_id] = _Group(task, version)

    def end(self, group_id: str) -> bool:
        """Forget a group; returns whether it was cancelled as too old."""
        self._groups.pop(group_id, None)
        was_over_age = group_id in self._over_age
        self._over_age.discard(group_id)
        return was_over_age

    async def cancel_over_age(self) -> None:
        """Stop what no step can train any more, before the engine spends an update on it."""
        started = {group_id: group.version for group_id, group in self._groups.items()}
        if not started:
            return
        for group_id in await self._queue.over_age.remote(self._name, started):
            if group_id in self._groups:
                self._over_age.add(group_id)
                self._groups[group_id].task.cancel()
                self.num_cancelled += 1
