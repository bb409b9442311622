"""An imported file: its columns, where it is from, and what of its rows is not part of a prompt.

Owns the schema and reading it back. Written by `imported_writer`; the evaluation reads `Labels`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pgpo_async.contracts import ConfigError

SCHEMA = pa.schema(
    [
        pa.field("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        pa.field("problem", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("category", pa.string()),
        pa.field("choices", pa.list_(pa.string())),
        pa.field("group", pa.string()),
    ]
)
ORIGIN_KEY = b"pgpo_async.imported"
_LABELS = ("id", "category", "choices", "group")


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What a row has besides its prompt; see the package's docstring."""

    row_id: str
    category: str | None = None
    choices: tuple[str, ...] | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a file was made of: the set, where it was read, and the rows that are not in it, by reason.

    `num_renamed` rows had an id that another one has, and got a number behind it.
    """

    name: str
    source: str
    layout: str
    num_rows: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    num_renamed: int = 0

    def as_json(self) -> bytes:
        """Return it as a file's metadata hold it."""
        return json.dumps(asdict(self)).encode()


def read_labels(path: Path) -> dict[str, Labels]:
    """Return each row's labels by the id of its prompt, in file order; the images are not read.

    Raises ConfigError if the file is none that `data import` wrote.
    """
    with _opened(path) as file:
        _origin(path, file)
        rows = file.read(columns=list(_LABELS)).to_pylist()
    return {
        f"{path.stem}/{number}": Labels(
            row_id=row["id"],
            category=row["category"],
            choices=None if row["choices"] is None else tuple(row["choices"]),
            group=row["group"],
        )
        for number, row in enumerate(rows)
    }


def read_origin(path: Path) -> Origin:
    """Return what a file was made of. Raises ConfigError if it is none that `data import` wrote."""
    with _opened(path) as file:
        return _origin(path, file)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{path} must be a readable Parquet file: {error}") from error


def _origin(path: Path, file: pq.ParquetFile) -> Origin:
    found = (file.metadata.metadata or {}).get(ORIGIN_KEY)
    if found is None:
        raise ConfigError(
            f"{path} must be a file that `pgpo-async data import` wrote, got another Parquet file"
        )
    return Origin(**json.loads(found))
