"""The scorer actor: takes generated groups from the queue, lets its model score them, hands them in.

    ask for a lease  ->  newer weights, if it is its turn  ->  the groups  ->  the model's passes  ->  hand in

Owns the pipe's part; the passes are `scoring_model`'s, which is imported only where a model is loaded. A
threaded Ray actor: `run` owns the model, `status` and `stop` answer beside it. Made and watched by
`orchestration`.
"""

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from pgpo_async.actors.queue_types import Lease
from pgpo_async.actors.ray_store import fetch
from pgpo_async.actors.scoring_leases import CALL_TIMEOUT_S, ScoringLeases
from pgpo_async.actors.stager import Stager
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import RolloutGroup, ScoredGroup, decode
from pgpo_async.contracts.arrow import warm_up
from pgpo_async.metrics.busy import BusyClock
from pgpo_async.metrics.durations import Durations
from pgpo_async.metrics.spans import Span, Spans
from pgpo_async.metrics.vitals import vitals

POLL_S = 30.0
BEAT_S = 2.0
NO_MISMATCH = {"mismatch_sum": 0.0, "mismatch_tokens": 0.0}

logger = logging.getLogger(__name__)


class Scorer:
    """One model replica that scores groups as they come."""

    def __init__(self, name: str, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        self._name = name
        warm_up()
        self._begin(config, run_id, queue=queue, store=store)

    def _begin(self, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        self._config = config
        self._queue = queue
        self._store = store
        self._staging = NodeStaging(run_id)
        self._stager = Stager(self._name, store, self._staging, config.weights)
        self._spans = Spans(config.trace)
        self._busy = BusyClock()
        self._group_times = Durations()
        self._stopping = threading.Event()
        self._waiting_for = "start"
        self._pass_began_s: float | None = None
        self._version = 0
        self._newer: Any = None
        self._num_groups = 0
        self._num_updates = 0
        self._model: Any = None

    def start(self) -> None:
        """Load the model onto this actor's device."""
        self._model = self._load_model("cuda" if ray.get_gpu_ids() else "cpu")
        self._waiting_for = "run"

    def _load_model(self, device: str) -> Any:
        from pgpo_async.actors.scoring_model import ScoringModel

        return ScoringModel(self._config, device)

    def renew(self, config: RunConfig, run_id: str, *, queue: Any, store: Any) -> None:
        """Leave the run that has stopped and start another in this process."""
        self._staging.close()
        self._begin(config, run_id, queue=queue, store=store)
        self.start()

    def run(self) -> None:
        """Score until `stop`; raises the first failure that is not one group's own."""
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        leases = ScoringLeases(self._name, self._queue, self._config.scorer)
        while not self._stopping.is_set():
            leases.ask()
            self._follow_weights()
            self._waiting_for = "generated groups"
            taken = leases.take()
            self._waiting_for = "its own passes"
            payloads = self._fetched(taken, leases)
            if payloads:
                self._pass_began_s = time.monotonic()
                leases.hand_in(taken, self._outcomes(payloads))
                self._pass_began_s = None
                self._num_groups += len(taken)
        leases.close()
        self._waiting_for = "run"

    def _beat(self) -> None:
        """Give signs of life until `stop`, also during a long pass."""
        stopping, queue = self._stopping, self._queue
        while not stopping.wait(BEAT_S):
            began_s = self._pass_began_s
            stalled_s = 0.0 if began_s is None else time.monotonic() - began_s
            queue.heartbeat.remote(self._name, self._waiting_for, stalled_s)

    def _fetched(self, taken: Sequence[Lease], leases: ScoringLeases) -> list[bytes]:
        try:
            return fetch([lease.ref for lease in taken], CALL_TIMEOUT_S)
        except ray.exceptions.RayError as error:
            # A queue whose process was replaced has these groups again, as other objects.
            logger.warning("%s: %d groups could not be fetched: %s", self._name, len(taken), error)
            leases.give_back(taken)
            return []

    def _outcomes(self, payloads: Sequence[bytes]) -> list[ScoredGroup | Exception]:
        groups = [_unscored(decode(payload)) for payload in payloads]
        began = self._busy.total_s
        with self._busy.working(), self._spans.span("score", groups=len(groups)):
            try:
                outcomes: list[ScoredGroup | Exception] = list(self.score(groups))
            except (ValueError, RuntimeError):
                # One bad group spoils a shared pass: find it by scoring them one at a time.
                outcomes = [self._score_alone(group) for group in groups]
        self._group_times.add((self._busy.total_s - began) / len(groups))
        return outcomes

    def _score_alone(self, group: RolloutGroup) -> ScoredGroup | Exception:
        try:
            return self.score([group])[0]
        except (ValueError, RuntimeError) as error:
            return error

    def score(self, groups: Sequence[RolloutGroup]) -> list[ScoredGroup]:
        """Score groups in shared passes, with the weights loaded now."""
        scored: list[ScoredGroup] = self._model.score(groups, self._version)
        return scored

    def _follow_weights(self) -> None:
        # One call waits in the store all the time: whether it has ended costs no message.
        if self._newer is None:
            self._newer = self._store.wait_newer.remote(self._version, POLL_S)
        if not ray.wait([self._newer], timeout=0)[0]:
            return
        newest, self._newer = ray.get(self._newer, timeout=CALL_TIMEOUT_S), None
        if newest is None:
            return
        turn = self._store.wait_turn.remote(self._name, "scorer", self._version, 0.0)
        if ray.get(turn, timeout=CALL_TIMEOUT_S) is None:
            return
        try:
            with self._spans.span("load weights"):
                self.load_newest()
        finally:
            self._store.end_turn.remote(self._name, self._version)

    def load_newest(self) -> int:
        """Load the newest published version, if there is one; return the version served from now on."""
        staged = self._stager.stage(self._version)
        if staged is not None:
            folder = Path(staged.folder)
            with self._staging.reading(folder):
                self._model.take(folder, staged.manifest)
            self._version = staged.version
            self._num_updates += 1
        return self._version

    def leave(self) -> None:
        """Take no more groups: `run` returns when what it has is handed in."""
        self._stopping.set()

    def stop(self) -> None:
        """Ask `run` to end; it returns within one poll."""
        self._stopping.set()

    def status(self) -> dict[str, Any]:
        """Say what this scorer does and waits for."""
        return {
            "name": self._name,
            "version": self._version,
            "waiting_for": self._waiting_for,
            "busy_s": self._busy.total_s,
            "score": self._group_times,
            "num_groups": self._num_groups,
            "num_updates": self._num_updates,
            **vitals(),
            **(NO_MISMATCH if self._model is None else self._model.mismatch()),
        }

    def take_spans(self) -> list[Span]:
        """Return what was traced since the last call."""
        return self._spans.take()

    def close(self) -> None:
        """Let go of the staged weights."""
        self._stopping.set()
        self._staging.close()


def _unscored(item: RolloutGroup | ScoredGroup) -> RolloutGroup:
    return item.group if isinstance(item, ScoredGroup) else item
