"""What a journal holds, and its bytes: records as Arrow IPC messages, one record batch a record.

Owns the format: the schema with its version, and checksums. A record's checksum covers its place, so that its
bytes anywhere else (in a payload, in an old block of the disk) are no record, and its length, so that with a
damaged one it swallows no other. A payload has a checksum of its own: a record can be checked without reading
its payload. Used by `journal_segments`.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from pgpo_async.contracts import content_hash

SCHEMA_VERSION = 1
SCHEMA = pa.schema(
    [
        ("kind", pa.large_string()),
        ("index", pa.int64()),
        ("meta", pa.large_string()),
        ("payload_hash", pa.large_string()),
        ("checksum", pa.large_string()),
        ("payload", pa.large_binary()),
    ]
)
_VERSION = b"pgpo_async.journal_schema"
_BEGINS = b"pgpo_async.journal_begins"


class Place(NamedTuple):
    """Where a record is: its segment's number, and how many bytes come before it there."""

    segment: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One entry. `index` is the prompt's drawing index, -1 where there is none; `meta` is kept as JSON."""

    kind: str
    index: int = -1
    meta: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = b""


def encode_header(*, begins: bool) -> pa.Buffer:
    """Return a segment's first message; one that `begins` the journal replaces all older segments."""
    metadata = {_VERSION: str(SCHEMA_VERSION), _BEGINS: "yes" if begins else "no"}
    return SCHEMA.with_metadata(metadata).serialize()


def decode_header(schema: pa.Schema) -> bool:
    """Return whether a segment begins the journal. Raises ValueError if it is of another format."""
    metadata: dict[bytes, bytes] = schema.metadata or {}
    version, begins = (metadata.get(key, b"none").decode(errors="replace") for key in (_VERSION, _BEGINS))
    if version != str(SCHEMA_VERSION):
        raise ValueError(f"journal schema version must be {SCHEMA_VERSION}, got {version}")
    if begins not in ("yes", "no") or not schema.equals(SCHEMA):
        raise ValueError(
            f"journal schema must have the columns {SCHEMA.names}, got {schema.names}, {begins=}"
        )
    return begins == "yes"


def encode_record(record: Record, place: Place) -> pa.Buffer:
    """Return a record's message at a place.

    Raises TypeError, ValueError or struct.error if the record has no form in JSON and Arrow.
    """
    meta = json.dumps(dict(record.meta), separators=(",", ":"))
    payload_hash = content_hash(record.payload)
    columns = [
        _one(pa.large_string(), record.kind.encode()),
        pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(struct.pack("=q", record.index))]),
        _one(pa.large_string(), meta.encode()),
        _one(pa.large_string(), payload_hash.encode()),
        _one(pa.large_string(), payload_hash.encode()),
        _one(pa.large_binary(), record.payload),
    ]
    # With the one hash in place of the other: they are equally long.
    batch = pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
    num_bytes = pa.ipc.get_record_batch_size(batch)
    checksum = _checksum(place, num_bytes, record.kind, record.index, meta, payload_hash)
    return batch.set_column(4, SCHEMA.field(4), _one(pa.large_string(), checksum.encode())).serialize()


def decode_record(message: pa.ipc.Message, place: Place, num_bytes: int, *, with_payload: bool) -> Record:
    """Inverse of `encode_record`; a payload that is not asked for is not read, not checked, and b"" here.

    Raises an error of Arrow's, TypeError or ValueError for anything but the record of that place and length.
    """
    batch = pa.ipc.read_record_batch(message, SCHEMA)
    # The bytes may be anything, and only on demand does Arrow check all that it will follow.
    batch.validate(full=True)
    if batch.num_rows != 1:
        raise ValueError(f"{batch.num_rows} rows")
    kind, index, meta, payload_hash, checksum = (batch.column(i)[0].as_py() for i in range(5))
    if checksum != _checksum(place, num_bytes, kind, index, meta, payload_hash):
        raise ValueError("one with another checksum")
    payload = batch.column(5)[0].as_py() if with_payload else b""
    if with_payload and content_hash(payload) != payload_hash:
        raise ValueError("one with another checksum of its payload")
    return Record(kind=kind, index=index, meta=json.loads(meta), payload=payload)


def _one(kind: pa.DataType, data: bytes) -> pa.Array:
    # Not pa.array: it would copy a payload, take five times as long, and import pandas (seconds, once).
    return pa.Array.from_buffers(
        kind, 1, [None, pa.py_buffer(struct.pack("=qq", 0, len(data))), pa.py_buffer(data)]
    )


def _checksum(place: Place, num_bytes: int, kind: str, index: int, meta: str, payload_hash: str) -> str:
    # No two records make the same text: JSON, as written here, has no line breaks.
    numbers = f"{place.segment} {place.offset} {num_bytes} {index}"
    return content_hash(f"{numbers} {payload_hash} {meta}\n{kind}".encode())
