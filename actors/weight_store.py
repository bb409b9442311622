"""The weight store: the newest versions of the policy's weights, as buckets in an object store.

Owns the objects: buckets come by value and are put from the store's process, so that a dead learner takes
nothing with it. Does not gather weights (`learner`), stage them on nodes (`staging`) or load them
(`weight_receiver`). Synchronous; `store_actor` adds Ray and waiting.
"""

from collections.abc import Sequence
from typing import Any

from pgpo_async.actors.queue_types import ObjectStore
from pgpo_async.contracts import BucketEntry, WeightError, WeightManifest, content_hash


class WeightStore:
    """Versions strictly increase; the newest `keep_versions` can be pulled, older ones are dropped."""

    def __init__(self, keep_versions: int, store: ObjectStore) -> None:
        if keep_versions < 1:
            raise ValueError(f"keep_versions must be at least 1, got {keep_versions}")
        self._keep_versions = keep_versions
        self._store = store
        self._manifests: dict[int, WeightManifest] = {}
        self._refs: dict[tuple[int, str], Any] = {}
        self._arriving_version: int | None = None
        self._arriving: dict[str, tuple[BucketEntry, Any]] = {}

    @property
    def latest(self) -> int | None:
        """The newest whole version, None before the first."""
        return max(self._manifests, default=None)

    @property
    def num_bytes(self) -> int:
        """Bytes of all versions held."""
        return sum(manifest.num_bytes for manifest in self._manifests.values())

    def add_bucket(self, version: int, entry: BucketEntry, data: bytes) -> None:
        """Take one bucket of a version to come, so that a large model never passes as one message.

        Raises WeightError if the bytes do not match their entry, or the version is not newer than the last.
        """
        self._check_newer(version)
        got = content_hash(data)
        if (len(data), got) != (entry.num_bytes, entry.checksum):
            raise WeightError(
                f"bucket {entry.name} of version {version} must be {entry.num_bytes} bytes with checksum "
                f"{entry.checksum}, got {len(data)} bytes with {got}"
            )
        if self._arriving_version != version:
            # A publication that was cut off is dropped by the next.
            self._arriving_version, self._arriving = version, {}
        self._arriving[entry.name] = (entry, self._store.put(data))

    def publish(self, manifest: WeightManifest, buckets: Sequence[bytes] = ()) -> int:
        """Make a version available, whole or not at all; returns it.

        `buckets` in the manifest's order, or none if all came by `add_bucket`. Raises WeightError if one is
        missing or does not match, or the version is not above the last.
        """
        self._check_newer(manifest.version)
        if buckets and len(buckets) != len(manifest.buckets):
            raise WeightError(
                f"version {manifest.version} must have {len(manifest.buckets)} buckets, got {len(buckets)}"
            )
        for entry, data in zip(manifest.buckets, buckets, strict=False):
            self.add_bucket(manifest.version, entry, data)
        arrived = self._arriving if self._arriving_version == manifest.version else {}
        missing = [b.name for b in manifest.buckets if b.name not in arrived or arrived[b.name][0] != b]
        if missing:
            raise WeightError(f"version {manifest.version} must come whole, got no bucket {missing[0]} of it")
        self._manifests[manifest.version] = manifest
        self._refs |= {(manifest.version, b.name): arrived[b.name][1] for b in manifest.buckets}
        self._arriving_version, self._arriving = None, {}
        self._forget_old()
        return manifest.version

    def manifest(self, version: int) -> WeightManifest:
        """Return a version's manifest. Raises WeightError if it is not held (any more)."""
        if version not in self._manifests:
            raise WeightError(f"weight version must be one of {sorted(self._manifests)}, got {version}")
        return self._manifests[version]

    def bucket_ref(self, version: int, name: str) -> Any:
        """Return the ref of a bucket. Raises WeightError if there is no such version or bucket."""
        names = [bucket.name for bucket in self.manifest(version).buckets]
        if name not in names:
            raise WeightError(f"bucket of version {version} must be one of {names}, got {name!r}")
        return self._refs[version, name]

    def pull(self, version: int) -> tuple[WeightManifest, list[Any]]:
        """Return a version's manifest and its buckets' refs in the manifest's order. Raises WeightError."""
        manifest = self.manifest(version)
        return manifest, [self._refs[version, bucket.name] for bucket in manifest.buckets]

    def _check_newer(self, version: int) -> None:
        if self.latest is not None and version <= self.latest:
            raise WeightError(f"weight version must be above the last, {self.latest}, got {version}")

    def _forget_old(self) -> None:
        kept = sorted(self._manifests)[-self._keep_versions :]
        self._manifests = {version: self._manifests[version] for version in kept}
        self._refs = {key: ref for key, ref in self._refs.items() if key[0] in self._manifests}
