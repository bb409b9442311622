"""The weight store from the outside: how a version gets into it, and from it to a receiver's node.

The learner is handed a `StorePublish` (it may not import this room). Of the receivers on a node, the first
fetches and stages a version, the others find it staged. Blocking: asynchronous actors call it in a thread.
"""

from typing import Any

import ray

from pgpo_async.actors.staging import NodeStaging
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import BucketEntry, WeightError, WeightManifest, WeightVersion


def stage_newest(store: Any, staging: NodeStaging, weights: WeightsConfig, than: int) -> WeightVersion | None:
    """Stage the store's newest version if it is newer than `than`, and drop older staged ones.

    Raises ray's GetTimeoutError after `weights.load_timeout_s`, WeightError on torn or unknown weights.
    """
    timeout_s = weights.load_timeout_s
    pulled = ray.get(store.pull_newest.remote(than), timeout=timeout_s)
    if pulled is None:
        return None
    manifest, refs = pulled
    fetch = _Fetch(dict(zip((b.name for b in manifest.buckets), refs, strict=True)), timeout_s)
    folder = staging.stage(manifest, fetch)
    staging.prune(weights.keep_versions)
    return WeightVersion(version=manifest.version, folder=str(folder), manifest=manifest)


class StorePublish:
    """Hands a version to the store, one bucket a message; called in the learner's publishing thread."""

    def __init__(self, store: Any, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s

    def __call__(self, manifest: WeightManifest, buckets: list[bytes]) -> None:
        """Publish. Raises ray's GetTimeoutError, or WeightError if the store refuses the version."""
        for entry, data in zip(manifest.buckets, buckets, strict=True):
            ray.get(self._store.add_bucket.remote(manifest.version, entry, data), timeout=self._timeout_s)
        ray.get(self._store.publish.remote(manifest), timeout=self._timeout_s)


class _Fetch:
    """Brings one bucket from the object store."""

    def __init__(self, refs: dict[str, Any], timeout_s: float) -> None:
        self._refs = refs
        self._timeout_s = timeout_s

    def __call__(self, bucket: BucketEntry) -> bytes:
        data: bytes = ray.get(self._refs[bucket.name], timeout=self._timeout_s)
        return data


def check_known(manifest: WeightManifest, names: set[str]) -> None:
    """Raise WeightError unless the manifest's tensors are exactly the model's."""
    published = set(manifest.tensor_checksums())
    if published != names:
        missing, unknown = sorted(names - published)[:3], sorted(published - names)[:3]
        raise WeightError(
            f"weight version {manifest.version} must hold the model's {len(names)} tensors; "
            f"missing {missing}, unknown {unknown}"
        )
