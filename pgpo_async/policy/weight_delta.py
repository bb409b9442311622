"""What changed in a bucket file since an earlier version of it, exactly and in few bytes.

Owns the encoding: which elements changed (gaps between their places, one byte each but for the few that are
far apart) and how (the exclusive or of their bits, byte by byte, so that signs and exponents, which seldom
move, compress well), each stream through zstd. Applying it gives the new file back to the bit, whatever the
dtype. Files are worked on in pieces: what is made on the way stays in the cache, fresh memory costs more than
the work itself, and threads share the encoding. Called by the publisher (`learner.deltas`) and by receivers
(`actors.node_weights`).

A bf16 model after one step of reinforcement learning changes in a few per cent of its elements: most updates
are smaller than half a unit in the last place.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pgpo_async.contracts import WeightError

MAX_CHANGED_SHARE = 0.3
"""Above it the file itself is sent: a delta would save little and cost more to make."""

_MAGIC = b"PGD1"
_HEAD = struct.Struct("<4sBIQ")  # magic, width, elements of a piece, bytes of the file
_PIECE = struct.Struct("<5I")  # changed elements, far gaps, then bytes of each stream
_PIECE_ELEMENTS = 1 << 20
_SAMPLE_STEP = 1009
_FAR = 255
_CODEC = "zstd"
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_NUM_THREADS = min(4, os.cpu_count() or 1)


def encode_delta(base: bytes, new: bytes, width: int) -> bytes | None:
    """The change from `base` to `new`, two files of the same layout with elements of `width` bytes.

    None where too much changed or the files are of different sizes: send the file itself then. Raises
    ValueError for a width that is not 1, 2, 4 or 8.
    """
    if width not in _UNSIGNED:
        raise ValueError(f"width must be one of {sorted(_UNSIGNED)}, got {width}")
    if len(base) != len(new) or len(new) % width:
        return None
    before, after = (np.frombuffer(data, _UNSIGNED[width]) for data in (base, new))
    if len(after) > _PIECE_ELEMENTS and _sampled_share(before, after) > 2 * MAX_CHANGED_SHARE:
        return None
    most = MAX_CHANGED_SHARE * len(after)
    counts: list[int] = []

    def encode(piece: slice) -> bytes:
        places = np.flatnonzero(before[piece] != after[piece])
        counts.append(len(places))
        if sum(counts) > most:
            return b""
        return _encode_piece(places, before[piece][places] ^ after[piece][places])

    pieces = _pieces(len(after), _PIECE_ELEMENTS)
    if min(_NUM_THREADS, len(pieces)) < 2:
        encoded = [encode(piece) for piece in pieces]
    else:
        # numpy and zstd let go of the interpreter, so the threads do run at once.
        with ThreadPoolExecutor(_NUM_THREADS, "weight-delta") as pool:
            encoded = list(pool.map(encode, pieces))
    if sum(counts) > most:
        return None
    return b"".join([_HEAD.pack(_MAGIC, width, _PIECE_ELEMENTS, len(new)), *encoded])


def rebuild(base: BinaryIO, deltas: Sequence[bytes]) -> Iterator[memoryview]:
    """The file that deltas lead to from `base`, oldest first, in pieces; each is overwritten by the next.

    Raises WeightError for a torn delta or a base of another size. Another file of the same size gives another
    result: compare its checksum.
    """
    size = base.seek(0, os.SEEK_END)
    base.seek(0)
    width, piece_elements = _layout(deltas, size)
    buffer = np.empty(min(piece_elements, size // width), _UNSIGNED[width])
    pieces = _pieces(size // width, piece_elements)
    # Strict: each delta's reader is asked once more at the end, and says if there is something left.
    for piece, *changes in zip(pieces, *(_read_pieces(delta, pieces) for delta in deltas), strict=True):
        elements = buffer[: piece.stop - piece.start]
        view = memoryview(elements).cast("B")  # type: ignore[arg-type]
        if base.readinto(view) != len(view):  # type: ignore[attr-defined]
            raise WeightError(f"a weight delta's base must be {size} bytes, but it ended before")
        for change in changes:
            _apply_piece(elements, change)
        yield view


def _layout(deltas: Sequence[bytes], size: int) -> tuple[int, int]:
    """Width and elements of a piece, the same for all deltas. Raises WeightError."""
    found = {(1, _PIECE_ELEMENTS)} if not deltas else {_read_head(delta, size) for delta in deltas}
    if len(found) != 1:
        raise WeightError(f"weight deltas of one file must be of one layout, got {sorted(found)}")
    return found.pop()


def _read_head(delta: bytes, size: int) -> tuple[int, int]:
    try:
        magic, width, piece_elements, wanted = _HEAD.unpack_from(delta)
    except struct.error as error:
        raise WeightError(f"a weight delta must have a head of {_HEAD.size} bytes: {error}") from error
    if magic != _MAGIC or width not in _UNSIGNED or piece_elements < 1 or wanted % width:
        raise WeightError(f"a weight delta must begin with {_MAGIC!r} and its sizes, got {delta[:17]!r}")
    if wanted != size:
        raise WeightError(f"a weight delta must be for a file of {wanted} bytes, got one of {size} bytes")
    return width, piece_elements


class _Change(NamedTuple):
    """A piece's part of a delta: how many elements, how many far gaps, and three compressed streams."""

    piece: slice
    num_changed: int
    num_far: int
    near: memoryview
    far: memoryview
    bits: memoryview


def _sampled_share(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> float:
    """About how much changed: where training moved everything, there is no need to go through it all."""
    return float(np.mean(before[::_SAMPLE_STEP] != after[::_SAMPLE_STEP]))


def _encode_piece(places: npt.NDArray[np.int64], bits: npt.NDArray[Any]) -> bytes:
    gaps = np.diff(places, prepend=-1) - 1
    is_far = gaps >= _FAR
    streams = (
        np.minimum(gaps, _FAR).astype(np.uint8),
        gaps[is_far].astype(np.uint32),
        np.ascontiguousarray(bits.view(np.uint8).reshape(len(bits), bits.itemsize).T),
    )
    packed = [pa.compress(stream, codec=_CODEC, asbytes=True) for stream in streams]
    head = _PIECE.pack(len(places), np.count_nonzero(is_far), *(len(part) for part in packed))
    return b"".join([head, *packed])


def _read_pieces(delta: bytes, pieces: Iterable[slice]) -> Iterator[_Change]:
    view, at = memoryview(delta), _HEAD.size
    for piece in pieces:
        if at + _PIECE.size > len(delta):
            raise WeightError(f"a weight delta must be more than {at} bytes, got {len(delta)}")
        count, num_far, *sizes = _PIECE.unpack_from(delta, at)
        if count > piece.stop - piece.start or num_far > count:
            raise WeightError(f"a weight delta must change elements of its file only, got {count} in {piece}")
        ends = np.cumsum([at + _PIECE.size, *sizes]).tolist()
        at = ends[-1]
        if at > len(delta):
            raise WeightError(f"a weight delta must be at least {at} bytes, got {len(delta)}")
        streams = (view[start:end] for start, end in pairwise(ends))
        yield _Change(piece, count, num_far, *streams)
    if at != len(delta):
        raise WeightError(f"a weight delta must be {at} bytes, got {len(delta)}")


def _apply_piece(elements: npt.NDArray[Any], change: _Change) -> None:
    near = _unpacked(change.near, change.num_changed, np.uint8)
    far = _unpacked(change.far, change.num_far, np.uint32)
    bits = _unpacked(change.bits, change.num_changed * elements.itemsize, np.uint8)
    is_far = near == _FAR
    if np.count_nonzero(is_far) != change.num_far:
        raise WeightError(f"a weight delta must hold the far gaps that it marks, got {change.num_far}")
    steps = near.astype(np.int64) + 1
    steps[is_far] = far.astype(np.int64) + 1
    places = np.cumsum(steps) - 1
    if change.num_changed and places[-1] >= len(elements):
        raise WeightError(f"a weight delta must stay within its piece, got element {places[-1]}")
    rows = np.ascontiguousarray(bits.reshape(elements.itemsize, change.num_changed).T)
    elements[places] ^= rows.view(elements.dtype).reshape(change.num_changed)


def _unpacked(packed: memoryview, count: int, dtype: type[np.generic]) -> npt.NDArray[Any]:
    size = count * np.dtype(dtype).itemsize
    try:
        data = pa.decompress(packed, decompressed_size=size, codec=_CODEC, asbytes=True)
    except (OSError, pa.ArrowException) as error:
        raise WeightError(f"a weight delta must decompress: {error}") from error
    if len(data) != size:
        raise WeightError(f"a stream of a weight delta must be {size} bytes, got {len(data)}")
    return np.frombuffer(data, dtype)


def _pieces(num_elements: int, piece_elements: int) -> list[slice]:
    starts = range(0, num_elements, piece_elements)
    return [slice(start, min(start + piece_elements, num_elements)) for start in starts]
