"""The weight store from the outside, through Ray: how a version gets into it, and from it to a node.

The learner is handed a `StorePublish` (it may not import this room). Receivers call `stage_newest`. Blocking:
asynchronous actors call it in a thread.
"""

from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.actors import node_weights
from pgpo_async.actors.node_weights import Pulled
from pgpo_async.actors.ray_store import fetch
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import BucketPayload, WeightError, WeightManifest, WeightVersion


def stage_newest(store: Any, staging: NodeStaging, weights: WeightsConfig, than: int) -> WeightVersion | None:
    """Stage the store's newest version if it is newer than `than`, and drop older staged ones.

    Where this node has an earlier version, what changed since is enough. Raises ray's GetTimeoutError after
    `weights.load_timeout_s`, WeightError on torn or unknown weights.
    """
    timeout_s = weights.load_timeout_s

    def pull(have: Sequence[int]) -> Pulled | None:
        found: Pulled | None = ray.get(store.pull_newest.remote(than, have), timeout=timeout_s)
        return found

    def get(refs: list[object]) -> list[bytes]:
        return fetch(refs, timeout_s)

    return node_weights.stage_newest(pull, get, staging, weights.keep_versions)


class StorePublish:
    """Hands a version to the store, one bucket a message; called in the learner's publishing thread."""

    def __init__(self, store: Any, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s

    def __call__(self, manifest: WeightManifest, payloads: Sequence[BucketPayload]) -> None:
        """Publish. Raises ray's GetTimeoutError, or WeightError if the store refuses the version."""
        # The bytes by themselves: Ray copies plain bytes once, and those inside an object twice.
        *buckets, last = zip(manifest.buckets, payloads, strict=True)
        for entry, payload in buckets:
            call = self._store.add_bucket.remote(manifest.version, entry, payload.data, payload.base)
            ray.get(call, timeout=self._timeout_s)
        call = self._store.publish.remote(manifest, last[1].data, last[1].base)
        ray.get(call, timeout=self._timeout_s)


def check_known(manifest: WeightManifest, names: set[str]) -> None:
    """Raise WeightError unless the manifest's tensors are exactly the model's."""
    published = set(manifest.tensor_checksums())
    if published != names:
        missing, unknown = sorted(names - published)[:3], sorted(published - names)[:3]
        raise WeightError(
            f"weight version {manifest.version} must hold the model's {len(names)} tensors; "
            f"missing {missing}, unknown {unknown}"
        )
