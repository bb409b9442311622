"""Weight versions and their manifests: what was published, in which buckets, with which checksums.

A version is a count of optimizer steps: version 0 is the checkpoint the run started from. A bucket is one
safetensors file in a node's staging folder; a manifest lists every bucket and every tensor with xxh3-128
checksums, so that a receiver can prove it loaded what the learner published.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

MANIFEST_NAME = "manifest.json"
"""A staged version's manifest, beside its bucket files."""

ADAPTER_FOLDER = "adapter"
"""A run's low-rank adapters by themselves, as peft reads them: beside its `model`, and in an export of it."""
ADAPTER_CONFIG = "adapter_config.json"
"""What peft reads there first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorEntry:
    """One tensor of a version: `name` as in the model's state dict, dtype as safetensors spells it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    checksum: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketEntry:
    """One file of a version. `checksum` is of the file's bytes."""

    name: str
    num_bytes: int
    checksum: str
    tensors: tuple[TensorEntry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightManifest:
    """All of one version's buckets."""

    version: int
    buckets: tuple[BucketEntry, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all buckets."""
        return sum(bucket.num_bytes for bucket in self.buckets)

    def tensor_checksums(self) -> dict[str, str]:
        """Return the checksum of every tensor by name."""
        return {tensor.name: tensor.checksum for bucket in self.buckets for tensor in bucket.tensors}

    def to_json(self) -> str:
        """Return the manifest as JSON; `from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "WeightManifest":
        """Inverse of `to_json`. Raises ValueError or KeyError on anything else."""
        raw = json.loads(text)
        return cls(version=raw["version"], buckets=tuple(_bucket(b) for b in raw["buckets"]))


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketPayload:
    """A bucket on its way: its file, or what changed in it since version `base` (`policy.weight_delta`)."""

    data: bytes
    base: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketRoute:
    """How a receiver gets a bucket: from its own file of version `base`, or from the first object if None.

    The objects after that are deltas, oldest first. `refs` stay in a list: Ray hands those on unresolved.
    """

    base: int | None
    refs: list[object]


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightVersion:
    """A version as receivers see it: its number and, once staged on their node, the folder it lies in."""

    version: int
    folder: str
    manifest: WeightManifest


def _bucket(raw: Mapping[str, object]) -> BucketEntry:
    tensors = raw["tensors"]
    assert isinstance(tensors, list)
    return BucketEntry(
        name=str(raw["name"]),
        num_bytes=int(raw["num_bytes"]),  # type: ignore[call-overload]
        checksum=str(raw["checksum"]),
        tensors=tuple(TensorEntry(**{**t, "shape": tuple(t["shape"])}) for t in tensors),
    )


Publish = Callable[[WeightManifest, list[BucketPayload]], object]
"""Hands a version to whoever distributes it, one payload a bucket. Must not wait for ever."""
