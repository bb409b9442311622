"""The learner as the driver sees it: all ranks as one, one call at a time.

Owns the rank actors' start and end, the division of a step's groups, and waiting: every wait has a limit,
the first failure ends it, and then all ranks are killed (the others would hang in a collective), so that the
driver can start new ones and load the last checkpoint. Called by `orchestration`, from one thread.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ray

from pgpo_async.config import RunConfig
from pgpo_async.contracts import ConfigError, GroupHeader, LeaseError, Publish, StageFailed, WeightError
from pgpo_async.contracts.errors import plain
from pgpo_async.learner.batching import assign_groups, group_cost, loss_normalizer
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.rank_errors import describe, error_of, root_cause
from pgpo_async.learner.reports import combined
from pgpo_async.metrics.spans import Span

ACTOR_OPTIONS: dict[str, Any] = {"max_concurrency": 4, "max_restarts": 0, "max_task_retries": 0}
"""For `ray.remote(LearnerWorker).options(...)`: status is answered during a step; no rank is remade alone."""

_GRACE_S = 3.0
"""How long other ranks get to end a call, too, after the first has failed."""
_ANSWER_S = 2.0
_SHUTDOWN_S = 15.0


class LeasedGroup(Protocol):
    """What the queue lends: `ref` is the encoded group in the object store (or its bytes)."""

    ref: Any
    header: GroupHeader


class LearnerGroup:
    """Built by `start_group`. After StageFailed it is dead: all of its processes are gone."""

    def __init__(self, workers: Sequence[Any], config: RunConfig) -> None:
        self._workers = list(workers)
        self._config = config
        self._timeout_s = config.learner.step_timeout_s
        self._pair_cost = 0.0
        # Versions published beyond the steps done: those of steps that a learner before went back on.
        self.versions_ahead = 0

    def train_step(
        self, leases: Sequence[LeasedGroup], step: int, meanwhile: Callable[[], None] = lambda: None
    ) -> dict[str, float]:
        """One optimizer step on some groups, the `step`-th counted from 0.

        `meanwhile` is called once all ranks are at work; what it raises is passed on, and the step is not
        waited for.
        Returns metrics over all ranks (`LearnerWorker.train_step`); seconds are the slowest rank's.

        Raises ValueError without groups; LeaseError, with nothing changed, if a rank could not get or read
        one; StageFailed if a rank fails or the step takes longer than `learner.step_timeout_s`.
        """
        self._require_alive()
        if not leases:
            raise ValueError("leases must hold at least one group, got none")
        shares = self._shares(leases, step)
        return combined(self._call(f"step {step}", "train_step", shares, LeaseError, meanwhile))

    def prepare(self, leases: Sequence[LeasedGroup], step: int) -> None:
        """Let the ranks read the groups of a step to come, beside the one that runs. From any thread.

        Worth it only if `train_step` is called with the same next.
        """
        for worker, arguments in zip(self._workers, self._shares(leases, step), strict=True):
            worker.prepare.remote(*arguments)

    def _shares(self, leases: Sequence[LeasedGroup], step: int) -> list[tuple[Any, ...]]:
        headers = [lease.header for lease in leases]
        costs = [group_cost(header, self._pair_cost) for header in headers]
        shares = assign_groups(costs, len(self._workers))
        algorithm = self._config.algorithm
        normalizer = loss_normalizer(headers, algorithm.loss, mask_truncated=algorithm.mask_truncated)
        version = step + self.versions_ahead
        return [([leases[i].ref for i in share], step, version, normalizer) for share in shares]

    def publish(self, version: int, *, again: bool = False) -> dict[str, float]:
        """Snapshot the weights as `version`; sending goes on in the background. Returns what
        `LearnerWorker.publish` does. `again`: the store has lost it; it is sent whole.

        Raises WeightError if an earlier version could not be sent; StageFailed.
        """
        what = f"publication of version {version}"
        return combined(self._call(what, "publish", self._same(version, again), WeightError))

    def flush(self, timeout_s: float) -> int | None:
        """Wait until the last version is sent; returns it. Raises WaitTimeout, WeightError, StageFailed."""
        version: int | None = self._call_first("flush", timeout_s, within_s=timeout_s + _ANSWER_S)
        return version

    def save(
        self, folder: str, tag: str, step: int, *, version: int, state: Mapping[str, Any], value: float | None
    ) -> tuple[str, ...]:
        """Save a checkpoint after `step` steps; the rest is as in `CheckpointInfo` and `checkpoint.prepare`.

        Returns warnings, a line each: what was not deleted, or not uploaded since the last save. Raises
        ValueError if the tag is that of the latest, or state or value cannot be written; StageFailed.
        """
        info = CheckpointInfo(
            tag=tag,
            step=step,
            version=version,
            world_size=len(self._workers),
            zero_stage=self._config.learner.zero_stage,
            value=value,
        )
        self._call_first("prepare_save", folder, tag, dict(state), within_s=self._timeout_s)
        warnings: list[tuple[str, ...]] = self._call(f"checkpoint {tag}", "save", self._same(folder, info))
        return warnings[0]

    def finish_uploads(self, timeout_s: float) -> tuple[str, ...]:
        """Wait until the saved checkpoints are at `train.checkpoint_url`; returns what failed, a line each.

        Raises WaitTimeout, StageFailed.
        """
        problems: tuple[str, ...] = self._call_first(
            "finish_uploads", timeout_s, within_s=timeout_s + _ANSWER_S
        )
        return problems

    def load(self, folder: str, tag: str | None = None) -> CheckpointInfo | None:
        """Load checkpoint `tag`, or the newest that is whole; what it is of, None if there is none.

        It may be of another number of ranks. Raises WeightError, with nothing loaded, if `tag`, or every one
        there is, is broken, or it is of another ZeRO stage; StageFailed.
        """
        infos: list[CheckpointInfo | None] = self._call(
            "loading a checkpoint", "load", self._same(folder, tag), WeightError
        )
        return infos[0]

    def export_hf(self, folder: str) -> None:
        """Write the model for transformers and vLLM. Raises ValueError if `folder` is in use; StageFailed."""
        self._call("export", "export_hf", self._same(folder), ValueError)

    def status(self, timeout_s: float = _ANSWER_S) -> list[str]:
        """One line for each rank: what it is doing, or that it does not answer."""
        refs = [worker.status.remote() for worker in self._workers]
        answered, _ = ray.wait(refs, num_returns=len(refs), timeout=timeout_s) if refs else ([], [])
        return [describe(rank, ref if ref in answered else None) for rank, ref in enumerate(refs)]

    def take_spans(self) -> dict[str, list[Span]]:
        """What the ranks traced since the last call, by name; a rank that does not answer is left out."""
        refs = [worker.take_spans.remote() for worker in self._workers]
        answered, _ = ray.wait(refs, num_returns=len(refs), timeout=_ANSWER_S) if refs else ([], [])
        return {f"learner-{rank}": ray.get(ref) for rank, ref in enumerate(refs) if ref in answered}

    def ranks(self) -> dict[str, Any]:
        """The ranks' actors by name, for whoever asks them for a sign of life."""
        return {f"learner-{rank}": worker for rank, worker in enumerate(self._workers)}

    def shutdown(self) -> None:
        """End all ranks, politely for a while, then by force. Never raises."""
        refs = [worker.shutdown.remote() for worker in self._workers]
        if refs:
            ray.wait(refs, num_returns=len(refs), timeout=_SHUTDOWN_S)
        self.kill()

    def kill(self) -> None:
        """End all ranks by force."""
        for worker in self._workers:
            ray.kill(worker, no_restart=True)
        self._workers = []

    def start(self) -> None:
        """Let the ranks find each other and load the model. Called by `start_group`."""
        address, port = self._call_first("address", within_s=self._timeout_s)
        self._pair_cost = self._call("start", "start", self._same(address, port))[0]

    def renew(self, config: RunConfig, publish: Publish | None = None) -> None:
        """Begin another run on these ranks, with a fresh model; their number stays. Raises StageFailed."""
        self._config = config
        self._timeout_s = config.learner.step_timeout_s
        calls = [(config, publish if rank == 0 else None) for rank in range(len(self._workers))]
        self._pair_cost = self._call("start of another run", "renew", calls)[0]

    def _same(self, *arguments: Any) -> list[tuple[Any, ...]]:
        return [arguments] * len(self._workers)

    def _call(
        self,
        what: str,
        method: str,
        arguments: Sequence[tuple[Any, ...]],
        harmless: type[Exception] | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Call all ranks, do `meanwhile`, wait for all, first failure first; results by rank.

        A `harmless` error leaves the ranks as they were, provided that all of them ended the call.
        """
        self._require_alive()
        refs = [
            getattr(worker, method).remote(*args)
            for worker, args in zip(self._workers, arguments, strict=True)
        ]
        waiting, deadline_s = list(refs), time.monotonic() + self._timeout_s
        meanwhile()
        while waiting:
            done, waiting = ray.wait(waiting, timeout=max(0.0, deadline_s - time.monotonic()))
            if not done:
                late = {refs.index(ref) for ref in waiting}
                raise self._failed(f"{what} took longer than {self._timeout_s:.0f} s", late=late)
            if error_of(done[0]) is not None:
                raise self._cause(what, refs, harmless)
        return list(ray.get(refs, timeout=self._timeout_s))

    def _call_first(self, method: str, *arguments: Any, within_s: float) -> Any:
        """Call rank 0 alone, which changes nothing on the others: its errors are passed on."""
        self._require_alive()
        ref = getattr(self._workers[0], method).remote(*arguments)
        try:
            return ray.get(ref, timeout=within_s)
        except ray.exceptions.GetTimeoutError:
            raise self._failed(f"{method} took longer than {within_s:.0f} s", late={0}) from None
        except ray.exceptions.RayActorError as error:
            raise self._failed(f"{method} failed: rank 0: {plain(error)!r}") from error
        except ray.exceptions.RayTaskError as error:
            raise plain(error) from None

    def _cause(self, what: str, refs: Sequence[Any], harmless: type[Exception] | None) -> BaseException:
        """What to raise after a first failure; the ranks are dead then, unless it was harmless."""
        # The first to answer is often one that lost its peer: give the peer's death time to show.
        ended, late = ray.wait(list(refs), num_returns=len(refs), timeout=_GRACE_S)
        errors = {refs.index(ref): found for ref in ended if (found := error_of(ref)) is not None}
        rank, cause = root_cause(errors)
        if not late and harmless and all(isinstance(error, harmless) for error in errors.values()):
            return cause
        failed = self._failed(f"{what} failed: rank {rank}: {cause!r}")
        failed.__cause__ = cause
        return cause if isinstance(cause, ConfigError) else failed

    def _failed(self, message: str, late: set[int] | None = None) -> StageFailed:
        if late:
            lines = self.status()
            message += ": " + "; ".join(lines[rank] for rank in sorted(late))
        self.kill()
        return StageFailed(f"learner: {message}", role="learner")

    def _require_alive(self) -> None:
        if not self._workers:
            raise StageFailed("learner: its ranks have ended, start a new group", role="learner")


def start_group(config: RunConfig, make_actor: Callable[[int, int], Any]) -> LearnerGroup:
    """Start `learner.replicas` ranks; `make_actor(rank, world_size)` places a `LearnerWorker`.

    Rank 0 meets the others on a free port of its node. Raises ConfigError if the model cannot be loaded,
    StageFailed if the ranks are not up within `learner.step_timeout_s`; nothing is left running then.
    """
    world_size = config.learner.replicas
    group = LearnerGroup([make_actor(rank, world_size) for rank in range(world_size)], config)
    group.start()
    return group
