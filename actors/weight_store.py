"""The weight store: the newest versions of the policy's weights, as buckets in an object store.

A bucket is there as its file, or as what changed in it since the version before. Buckets of older versions
are kept as long as a newer one leads back to them. A receiver says which versions its node has, and is told
the shortest way from one of them, or from the last whole file: one that missed versions needs nothing from
the learner.

Owns the objects: buckets come by value and are put from the store's process, so that a dead learner takes
nothing with it. Does not gather weights (`learner`), stage them on nodes (`staging`), apply changes
(`node_weights`) or load them (`weight_receiver`). Synchronous; `store_actor` adds Ray and waiting.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from pgpo_async.actors.queue_types import ObjectStore
from pgpo_async.contracts import (
    BucketEntry,
    BucketPayload,
    BucketRoute,
    WeightError,
    WeightManifest,
    content_hash,
)


class _Held(NamedTuple):
    """A bucket of a version: its object and the version whose bucket it changes (None: it is whole)."""

    entry: BucketEntry
    ref: Any
    num_bytes: int
    base: int | None


class WeightStore:
    """Versions strictly increase; the newest `keep_versions` can be pulled, older ones are dropped."""

    def __init__(self, keep_versions: int, store: ObjectStore) -> None:
        if keep_versions < 1:
            raise ValueError(f"keep_versions must be at least 1, got {keep_versions}")
        self._keep_versions = keep_versions
        self._store = store
        self._manifests: dict[int, WeightManifest] = {}
        self._held: dict[tuple[int, str], _Held] = {}
        self._arriving_version: int | None = None
        self._arriving: dict[str, _Held] = {}

    @property
    def latest(self) -> int | None:
        """The newest whole version, None before the first."""
        return max(self._manifests, default=None)

    @property
    def num_bytes(self) -> int:
        """Bytes of all objects held, those of older versions that newer ones need among them."""
        return sum(held.num_bytes for held in self._held.values())

    def add_bucket(self, version: int, entry: BucketEntry, payload: BucketPayload) -> None:
        """Take one bucket of a version to come, so that a large model never passes as one message.

        Raises WeightError if a file does not match its entry, a change is not since a version held here, or
        the version is not newer than the last.
        """
        self._check_newer(version)
        self._check_payload(version, entry, payload)
        if self._arriving_version != version:
            # A publication that was cut off is dropped by the next.
            self._arriving_version, self._arriving = version, {}
        ref = self._store.put(payload.data)
        self._arriving[entry.name] = _Held(entry, ref, len(payload.data), payload.base)

    def publish(self, manifest: WeightManifest, payloads: Sequence[BucketPayload] = ()) -> int:
        """Make a version available, whole or not at all; returns it.

        `payloads` in the manifest's order, or none if all came by `add_bucket`. Raises WeightError if one is
        missing or does not match, or the version is not above the last.
        """
        self._check_newer(manifest.version)
        if payloads and len(payloads) != len(manifest.buckets):
            raise WeightError(
                f"version {manifest.version} must have {len(manifest.buckets)} buckets, got {len(payloads)}"
            )
        for entry, payload in zip(manifest.buckets, payloads, strict=False):
            self.add_bucket(manifest.version, entry, payload)
        arrived = self._arriving if self._arriving_version == manifest.version else {}
        missing = [b.name for b in manifest.buckets if b.name not in arrived or arrived[b.name].entry != b]
        if missing:
            raise WeightError(f"version {manifest.version} must come whole, got no bucket {missing[0]} of it")
        self._manifests[manifest.version] = manifest
        self._held |= {(manifest.version, b.name): arrived[b.name] for b in manifest.buckets}
        self._arriving_version, self._arriving = None, {}
        self._forget_old()
        return manifest.version

    def manifest(self, version: int) -> WeightManifest:
        """Return a version's manifest. Raises WeightError if it is not held (any more)."""
        if version not in self._manifests:
            raise WeightError(f"weight version must be one of {sorted(self._manifests)}, got {version}")
        return self._manifests[version]

    def pull(self, version: int, have: Collection[int] = ()) -> tuple[WeightManifest, list[BucketRoute]]:
        """Return a version's manifest and each bucket's route, in its order, for a node that has versions.

        Raises WeightError if the version is not held (any more).
        """
        manifest = self.manifest(version)
        return manifest, [self._route(version, bucket.name, have) for bucket in manifest.buckets]

    def _route(self, version: int, name: str, have: Collection[int]) -> BucketRoute:
        """Back from a version to one that the node has, or to a whole file, whichever is nearer."""
        refs: list[object] = []
        at: int | None = version
        while at is not None and at not in have:
            held = self._held[at, name]
            refs.append(held.ref)
            at = held.base
        return BucketRoute(base=at, refs=refs[::-1])

    def _check_payload(self, version: int, entry: BucketEntry, payload: BucketPayload) -> None:
        if payload.base is not None:
            # What it leads to is checked by the receiver, who has the base.
            base = self._held.get((payload.base, entry.name))
            if base is None or base.entry.num_bytes != entry.num_bytes:
                raise WeightError(
                    f"bucket {entry.name} of version {version} must be whole or change one of its size that "
                    f"is held, of versions {sorted(self._manifests)}, got a change of version {payload.base}"
                )
            return
        got = content_hash(payload.data)
        if (len(payload.data), got) != (entry.num_bytes, entry.checksum):
            raise WeightError(
                f"bucket {entry.name} of version {version} must be {entry.num_bytes} bytes with checksum "
                f"{entry.checksum}, got {len(payload.data)} bytes with {got}"
            )

    def _check_newer(self, version: int) -> None:
        if self.latest is not None and version <= self.latest:
            raise WeightError(f"weight version must be above the last, {self.latest}, got {version}")

    def _forget_old(self) -> None:
        kept = sorted(self._manifests)[-self._keep_versions :]
        self._manifests = {version: self._manifests[version] for version in kept}
        needed: dict[tuple[int, str], _Held] = {}
        for manifest in self._manifests.values():
            for bucket in manifest.buckets:
                at: int | None = manifest.version
                while at is not None and (at, bucket.name) not in needed:
                    held = needed[at, bucket.name] = self._held[at, bucket.name]
                    at = held.base
        self._held = needed
