"""A payload that travels as several arguments is the same bytes at the other end."""

import pytest

from pgpo_async.actors.call_parts import MAX_PARTS, PART_BYTES, in_parts


@pytest.mark.parametrize(
    ("num_bytes", "num_parts"),
    [
        (0, 1),
        (PART_BYTES, 1),
        (PART_BYTES + 1, 2),
        (262_144, 3),
        (MAX_PARTS * PART_BYTES, MAX_PARTS),
        (MAX_PARTS * PART_BYTES + 1, 1),
    ],
)
def test_parts_are_few_fit_into_a_call_and_make_up_the_payload(num_bytes, num_parts):
    payload = bytes(range(251)) * (num_bytes // 251) + b"x" * (num_bytes % 251)
    parts = in_parts(payload)
    assert len(parts) == num_parts
    assert num_parts == 1 or max(map(len, parts)) <= PART_BYTES
    assert b"".join(parts) == payload
