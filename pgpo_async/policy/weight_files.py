"""Weights as bucket files: how the learner packs a version, how receivers read a staged one.

Owns the format (safetensors files of about equal size, a manifest with xxh3-128 checksums). Does not gather
weights from ranks (`learner`), send, store or stage them (`actors`).
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from pgpo_async.contracts import BucketEntry, TensorEntry, WeightError, WeightManifest, content_hash
from pgpo_async.contracts.weights import MANIFEST_NAME

HostWeights = dict[str, torch.Tensor]
"""Name to host tensor in the model's precision. Copies: the next optimizer step does not change them."""

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8
"""Of the first tensor in a file."""


def tensor_checksum(tensor: torch.Tensor) -> str:
    """Return the xxh3-128 of a tensor's raw bytes in row-major order, on whatever device it is."""
    return content_hash(_raw(tensor))


def write_buckets(
    version: int, named_tensors: Iterable[tuple[str, torch.Tensor]], bucket_bytes: int
) -> tuple[WeightManifest, list[bytes]]:
    """Return a version's manifest and one bytes for each of its buckets. Raises as `pack_buckets`."""
    packed = list(pack_buckets(named_tensors, bucket_bytes))
    manifest = WeightManifest(version=version, buckets=tuple(entry for entry, _ in packed))
    return manifest, [data for _, data in packed]


def pack_buckets(
    named_tensors: Iterable[tuple[str, torch.Tensor]], bucket_bytes: int
) -> Iterator[tuple[BucketEntry, bytes]]:
    """Pack tensors, in their order, into safetensors files of at most `bucket_bytes` of tensor data.

    A larger tensor gets a file of its own. Takes tensors of any device, views and tied ones too (each is
    written whole). Yields a bucket at a time, so that the model need not be in memory twice. Raises
    ValueError for a name given twice, or a dtype that safetensors has no name for.
    """
    if bucket_bytes < 1:
        raise ValueError(f"bucket_bytes must be at least 1, got {bucket_bytes}")
    seen: set[str] = set()
    for number, tensors in enumerate(_buckets(named_tensors, bucket_bytes)):
        twice = seen & tensors.keys()
        if twice:
            raise ValueError(f"tensor names must be unique, got {sorted(twice)[0]} twice")
        seen |= tensors.keys()
        yield _pack(f"bucket-{number:05d}.safetensors", tensors)


def read_version(folder: Path, *, verify: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield a staged version's tensors by name, in the order they were packed.

    Tensors are views of memory-mapped files: valid as long as they are held, to be copied, not written to.
    `verify` compares each with its checksum. Raises WeightError if the version is torn or does not match.
    """
    manifest = read_manifest(folder)
    for bucket in manifest.buckets:
        try:
            with safe_open(folder / bucket.name, framework="pt") as file:
                for entry in bucket.tensors:
                    yield entry.name, _checked(file.get_tensor(entry.name), entry, folder, verify)
        except (SafetensorError, OSError) as error:
            raise WeightError(f"bucket {bucket.name} in {folder} must hold its tensors: {error}") from error


def read_manifest(folder: Path) -> WeightManifest:
    """Return a staged version's manifest. Raises WeightError if there is none."""
    try:
        return WeightManifest.from_json((folder / MANIFEST_NAME).read_text())
    except (OSError, ValueError, KeyError) as error:
        raise WeightError(f"{folder} must hold a staged version with {MANIFEST_NAME}: {error}") from error


def _buckets(
    named_tensors: Iterable[tuple[str, torch.Tensor]], bucket_bytes: int
) -> Iterator[dict[str, torch.Tensor]]:
    bucket: dict[str, torch.Tensor] = {}
    num_bytes = 0
    for name, tensor in named_tensors:
        if name in bucket:
            raise ValueError(f"tensor names must be unique, got {name} twice")
        if bucket and num_bytes + tensor.nbytes > bucket_bytes:
            yield bucket
            bucket, num_bytes = {}, 0
        bucket[name] = tensor
        num_bytes += tensor.nbytes
    if bucket:
        yield bucket


def _pack(name: str, tensors: dict[str, torch.Tensor]) -> tuple[BucketEntry, bytes]:
    """A safetensors file, its data copied once (safetensors' own `save` copies it three times)."""
    entries: dict[str, TensorEntry] = {}
    raws: dict[str, memoryview] = {}
    header: dict[str, dict[str, object]] = {}
    for key, tensor in tensors.items():
        raws[key] = raw = _raw(tensor)
        entries[key] = TensorEntry(
            name=key, dtype=_dtype(key, tensor), shape=tuple(tensor.shape), checksum=content_hash(raw)
        )
    end = 0
    # Wide elements first, or narrow ones would leave them at odd addresses.
    in_file = sorted(tensors, key=lambda key: -tensors[key].element_size())
    for key in in_file:
        start, end = end, end + len(raws[key])
        entry = entries[key]
        header[key] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [start, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % _ALIGNMENT)
    data = b"".join([len(head).to_bytes(8, "little"), head, *(raws[key] for key in in_file)])
    bucket = BucketEntry(
        name=name, num_bytes=len(data), checksum=content_hash(data), tensors=tuple(entries.values())
    )
    return bucket, data


def _raw(tensor: torch.Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return memoryview(flat.numpy())  # type: ignore[arg-type]


def _dtype(name: str, tensor: torch.Tensor) -> str:
    if tensor.dtype not in _DTYPES:
        raise ValueError(f"dtype of {name} must be one of {sorted(_DTYPES.values())}, got {tensor.dtype}")
    return _DTYPES[tensor.dtype]


def _checked(tensor: torch.Tensor, entry: TensorEntry, folder: Path, verify: bool) -> torch.Tensor:
    if (_DTYPES.get(tensor.dtype), tuple(tensor.shape)) != (entry.dtype, entry.shape):
        raise WeightError(
            f"{entry.name} in {folder} must be {entry.dtype} {entry.shape}, "
            f"got {tensor.dtype} {tuple(tensor.shape)}"
        )
    if verify and (got := tensor_checksum(tensor)) != entry.checksum:
        raise WeightError(f"{entry.name} in {folder} must have checksum {entry.checksum}, got {got}")
    return tensor
