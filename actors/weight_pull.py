"""Pulling a version from the weight store to this node: what generators and scorers share.

The first receiver on a node fetches and stages; the others find the staged copy. Blocking: asynchronous
actors call it in a thread.
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
