"""What a known data set is made of: its name, where it is published, and how its rows are laid out.

Owns the types only. A layout turns a published row into a `SetRow`; reading the files and the images is
`import_run`'s work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedRow:
    """A row as it is published; `origin` is its split or the stem of its file, `number` its place there."""

    values: Mapping[str, Any]
    origin: str
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SetRow:
    """A row as we write it, its images still as they are published: bytes, {bytes, path} or paths.

    `problem` has one `<image>` an image, in their order; the importer takes all of them out of one that has
    not.
    """

    row_id: str
    images: Sequence[object]
    problem: object
    answer: object
    category: str | None = None
    choices: Sequence[str] | None = None
    group: str | None = None
    not_in_tables: str | None = None
    """Why published tables do not count it, as a word that is counted; `data import --all` takes it, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One way in which a set is published: the columns it is known by, and what a row means.

    `convert` raises `image_files.Unusable` for a row that means nothing.
    """

    name: str
    columns: tuple[str, ...]
    convert: Callable[[PublishedRow], SetRow]


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownSet:
    """A data set that we know how to read."""

    name: str
    """As the command line has it, and the stem of its file."""
    title: str
    """As tables have it."""
    hub_name: str
    split: str
    """Of the Hub and of a folder's files; several are joined by `+`."""
    layouts: tuple[Layout, ...]
    """Tried in order; the first whose columns are there is taken."""
    subset: str | None = None
    """The Hub's configuration, and the folder or the files' stem in a copy of it."""
    is_benchmark: bool = False
    file_stems: Mapping[str, str] | None = None
    """What the files of a split are called, where they do not have its name."""
