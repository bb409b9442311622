"""Handing each version of the weights to the store, and again where the store has lost it.

Nothing here stops a run: receivers go on with the weights they have. Used by `run_loop`, from one thread.
"""

import ray

from pgpo_async.contracts import WeightError
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.run_folder import RunFolder

ANSWER_S = 1.0
"""Longest wait for the store to say what it has; one that hangs is the supervisor's business."""


class Handover:
    """Of one run."""

    def __init__(self, cluster: Cluster, folder: RunFolder) -> None:
        self._cluster = cluster
        self._folder = folder
        self._missing: int | None = None
        self._most = 0.0
        self._model = 0.0

    @property
    def num_bytes(self) -> dict[str, float]:
        """Bytes of the model's weights, and the most that were sent of one version."""
        return {"weight_bytes": self._model, "published_bytes_max": self._most}

    def publish(self, version: int, *, again: bool = False) -> dict[str, float]:
        """Send a version on its way; return the learner's metrics of that. Raises StageFailed."""
        try:
            metrics = self._cluster.the_learner.publish(version=version, again=again)
        except WeightError as error:
            # Everybody goes on with the weights they have; the next version is sent whole.
            self._folder.tell(f"warning: {error}")
            return {}
        self._model = metrics["weight_bytes"]
        self._most = max(self._most, metrics.get("published_bytes", 0.0))
        return metrics

    def check(self, version: int) -> None:
        """Send the newest version again if the store has not got it at two looks in a row.

        Its process may have been replaced, or it refused a change to what it did not have. Generators that
        are replaced then would serve the weights they began with, too old for any batch. Raises StageFailed.
        """
        asked = self._cluster.store.latest.remote()
        if version == 0 or not ray.wait([asked], timeout=ANSWER_S)[0]:
            return
        missing, self._missing = self._missing, None if ray.get(asked) == version else version
        if missing == self._missing == version:
            self._missing = None
            self._folder.tell(f"the weight store has lost version {version}: it is sent again, whole")
            self.publish(version, again=True)
