"""A delta leads from one file to the other to the bit, or is refused."""

import io
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from pgpo_async.contracts import WeightError
from pgpo_async.policy import weight_delta
from pgpo_async.policy.weight_delta import _PIECE_ELEMENTS, encode_delta, rebuild


def applied(base: bytes, *deltas: bytes | None) -> bytes:
    return b"".join(bytes(piece) for piece in rebuild(io.BytesIO(base), [d for d in deltas if d is not None]))


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.integers(0, 400),
    st.floats(0, 0.3),
    st.integers(0, 2**32 - 1),
)
def test_any_file_comes_back_to_the_bit(width: int, size: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    base = random.integers(0, 256, size * width, dtype=np.uint8)
    new = base.copy().reshape(size, width)
    places = random.permutation(size)[: int(share * size)]
    new[places] = random.integers(0, 256, (len(places), width), dtype=np.uint8)
    delta = encode_delta(base.tobytes(), new.tobytes(), width)
    assert delta is not None
    assert applied(base.tobytes(), delta) == new.tobytes()


def test_far_changes_and_the_last_element_are_found() -> None:
    base = bytes(2 * 100_000)
    new = bytearray(base)
    for place in (0, 254, 255, 256, 70_000, 99_999):
        new[2 * place] = 7
    delta = encode_delta(base, bytes(new), 2)
    assert applied(base, delta) == new
    assert delta is not None
    assert len(delta) < 300


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_file_of_several_pieces_changes_at_their_edges(width: int) -> None:
    num = 2 * _PIECE_ELEMENTS + 77
    base = np.random.default_rng(width).integers(0, 256, (num, width), dtype=np.uint8)
    new = base.copy()
    edges = (0, _PIECE_ELEMENTS - 1, _PIECE_ELEMENTS, 2 * _PIECE_ELEMENTS, num - 1)
    new[list(edges)] ^= 255
    delta = encode_delta(base.tobytes(), new.tobytes(), width)
    assert delta is not None
    assert applied(base.tobytes(), delta) == new.tobytes()
    assert applied(base.tobytes(), encode_delta(base.tobytes(), base.tobytes(), width)) == base.tobytes()


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    base = random.integers(0, 1 << 16, 5 * _PIECE_ELEMENTS + 5, dtype=np.uint16)
    new = base ^ (random.random(len(base)) < 0.05).astype(np.uint16)
    deltas = []
    for num_threads in (1, 4):
        monkeypatch.setattr(weight_delta, "_NUM_THREADS", num_threads)
        deltas.append(encode_delta(base.tobytes(), new.tobytes(), 2))
        assert applied(base.tobytes(), deltas[-1]) == new.tobytes()
    assert deltas[0] == deltas[1]


def test_two_per_cent_of_a_bf16_model_cost_less_than_a_tenth_of_it() -> None:
    torch.manual_seed(0)
    base = torch.randn(400_000).to(torch.bfloat16)
    new = base.clone()
    places = torch.randperm(len(base))[: len(base) // 50]
    new[places] = (base[places].float() * (1 + 0.01 * torch.randn(len(places)))).to(torch.bfloat16)
    files = [save({"w": tensor}) for tensor in (base, new)]
    delta = encode_delta(*files, 2)
    assert applied(files[0], delta) == files[1]
    assert delta is not None
    assert len(delta) < 0.05 * len(files[1])


def test_a_chain_of_deltas_is_applied_oldest_first() -> None:
    versions = [bytes([n if i == n * 10 else 0 for i in range(100)]) for n in range(5)]
    deltas = [encode_delta(a, b, 1) for a, b in pairwise(versions)]
    assert applied(versions[0], *deltas) == versions[4]


def test_a_file_that_changed_too_much_or_in_size_is_not_encoded() -> None:
    assert encode_delta(bytes(1000), bytes([1]) * 1000, 1) is None
    assert encode_delta(bytes(10), bytes(12), 2) is None
    large = bytes(3 * _PIECE_ELEMENTS)
    assert encode_delta(large, bytes([1]) * len(large), 1) is None
    # All of one piece but little of the whole.
    one_piece = bytes([1]) * _PIECE_ELEMENTS + bytes(3 * _PIECE_ELEMENTS)
    assert encode_delta(bytes(len(one_piece)), one_piece, 1) is not None
    # Too much of the whole, though no sample of it would show that for sure.
    half = bytes([0, 1]) * (2 * _PIECE_ELEMENTS)
    assert encode_delta(bytes(len(half)), half, 1) is None
    with pytest.raises(ValueError, match=r"width must be one of \[1, 2, 4, 8\], got 3"):
        encode_delta(b"", b"", 3)


def small_delta() -> bytes:
    new = bytearray(1000)
    new[5] = new[900] = 1
    delta = encode_delta(bytes(1000), bytes(new), 1)
    assert delta is not None
    return delta


def test_a_delta_for_a_file_of_another_size_is_refused() -> None:
    with pytest.raises(WeightError, match="for a file of 1000 bytes, got one of 999 bytes"):
        applied(bytes(999), small_delta())


@given(st.integers(0, 200))
def test_a_delta_cut_off_anywhere_is_refused(at: int) -> None:
    delta = small_delta()
    with pytest.raises(WeightError, match="a weight delta must"):
        applied(bytes(1000), delta[: min(at, len(delta) - 1)])
    with pytest.raises(WeightError, match=f"must be {len(delta)} bytes"):
        applied(bytes(1000), delta + bytes(at + 1))


@given(st.integers(0, 200), st.integers(1, 255))
def test_a_delta_with_a_changed_byte_is_refused_or_changes_something_else(at: int, flip: int) -> None:
    broken = bytearray(small_delta())
    broken[at % len(broken)] ^= flip
    # Never more than an error to act on, and never beyond the file: checksums tell the rest.
    with suppress(WeightError):
        assert len(applied(bytes(1000), bytes(broken))) == 1000


def test_deltas_of_one_chain_are_of_one_layout_and_none_at_all_gives_the_file_itself() -> None:
    other = encode_delta(bytes(1000), bytes(1000), 2)
    with pytest.raises(WeightError, match="must be of one layout"):
        applied(bytes(1000), small_delta(), other)
    data = bytes(range(256)) * 20_000
    assert applied(data) == data
    assert applied(b"") == b""
