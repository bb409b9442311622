"""From the weight store to a node's staged copy: what the node has, and what changed since, make a version.

Of the receivers on a node the first fetches and stages a version, the others find it staged. A version that
the node has is a base for the next; if it is not what the learner published (which went back to a checkpoint,
say), or gone, whole files are fetched. Every file's checksum is compared before it is staged (`staging`).
Knows nothing of Ray: `store_client` brings it the store. Blocking.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from pgpo_async.actors.staging import NodeStaging
from pgpo_async.contracts import BucketEntry, BucketRoute, WeightError, WeightManifest, WeightVersion
from pgpo_async.policy.weight_delta import rebuild

Pulled = tuple[WeightManifest, list[BucketRoute]]
"""As `WeightStore.pull` returns it."""

Pull = Callable[[Sequence[int]], Pulled | None]
"""Asks for the newest version, given those that the node has; None if the receiver has it already."""

GetObjects = Callable[[list[object]], list[bytes]]
"""Brings the objects of some refs. Must not wait for ever."""


def stage_newest(pull: Pull, get: GetObjects, staging: NodeStaging, keep: int) -> WeightVersion | None:
    """Stage what `pull` tells of, and drop all staged versions but the newest `keep`; None if there is none.

    Raises WeightError on torn or unknown weights, or without room for them, and whatever `pull` and `get`
    raise.
    """
    with ExitStack() as held:
        folders = {version: _hold(staging, version, held) for version in staging.versions()}
        bases = {version: folder for version, folder in folders.items() if folder is not None}
        pulled = pull(sorted(bases))
        if pulled is None:
            return None
        try:
            folder = staging.stage(pulled[0], _Fetch(pulled, bases, get))
        except WeightError:
            if all(route.base is None for route in pulled[1]):
                raise
            pulled = pull([])
            if pulled is None:
                return None
            folder = staging.stage(pulled[0], _Fetch(pulled, {}, get))
    staging.prune(keep)
    return WeightVersion(version=pulled[0].version, folder=str(folder), manifest=pulled[0])


def _hold(staging: NodeStaging, version: int, held: ExitStack) -> Path | None:
    """The folder of a staged version, kept from being pruned; None if it is gone."""
    try:
        return held.enter_context(staging.reading(staging.folder_of(version)))
    except WeightError:
        return None


class _Fetch:
    """Brings one bucket: a whole file from the object store, or this node's own with what changed."""

    def __init__(self, pulled: Pulled, bases: Mapping[int, Path], get: GetObjects) -> None:
        manifest, routes = pulled
        self._routes = {bucket.name: route for bucket, route in zip(manifest.buckets, routes, strict=True)}
        self._bases = bases
        self._get = get

    def __call__(self, bucket: BucketEntry) -> Iterator[bytes | memoryview]:
        route = self._routes[bucket.name]
        objects = self._get(route.refs)
        if route.base is None:
            whole, *deltas = objects
            yield from rebuild(io.BytesIO(whole), deltas) if deltas else [whole]
            return
        with _opened(self._bases[route.base] / bucket.name) as base:
            yield from rebuild(base, objects)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise WeightError(f"{path} must be staged to build on it: {error}") from error
