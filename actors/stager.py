"""Stages new weights for one receiver, and lets a few attempts fail before it gives up.

What fails here (nothing pulled in time, torn files, no room on the node) fails before a model is touched, so
the receiver goes on with the weights it has and tries again in its next turn. Blocking; used by
`weight_follower` and `scorer`.
"""

import logging
from typing import Any

from ray.exceptions import GetTimeoutError

from pgpo_async.actors.staging import NodeStaging
from pgpo_async.actors.store_client import stage_newest
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import WaitTimeout, WeightError, WeightVersion

MAX_FAILURES = 3
"""In a row; the next is raised."""

logger = logging.getLogger(__name__)


class Stager:
    """Of one receiver in one run."""

    def __init__(self, name: str, store: Any, staging: NodeStaging, weights: WeightsConfig) -> None:
        self._name = name
        self._store = store
        self._staging = staging
        self._weights = weights
        self._num_failures = 0

    def stage(self, than: int) -> WeightVersion | None:
        """Stage the newest version above `than`; None if there is none, or it failed and may be tried again.

        Raises what the last of several failures in a row raised.
        """
        try:
            staged = stage_newest(self._store, self._staging, self._weights, than)
        except (WeightError, WaitTimeout, GetTimeoutError) as error:
            self._num_failures += 1
            if self._num_failures > MAX_FAILURES:
                raise
            logger.warning("%s: staging weights failed, to be tried again: %s", self._name, error)
            return None
        self._num_failures = 0
        return staged
