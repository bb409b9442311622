"""What crosses a process border comes out as it went in: groups to the bit, errors with their fields."""

import dataclasses
import inspect
import io
import itertools
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pgpo_async.contracts import (
    BucketEntry,
    Prompt,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    TensorEntry,
    VersionSpan,
    WeightManifest,
    decode,
    encode,
    errors,
)
from pgpo_async.contracts.arrow import SCHEMA, from_record_batch, to_record_batch

any_float32 = st.floats(width=32, allow_nan=True, allow_infinity=True, allow_subnormal=True)
names = st.text(max_size=6)
parts = st.dictionaries(names, st.floats(allow_nan=False), max_size=3)
prompts = st.builds(
    Prompt,
    prompt_id=names,
    question=st.text(max_size=20),
    answer=st.text(max_size=6),
    images=st.lists(st.binary(max_size=12), max_size=2).map(tuple),
    index=st.integers(0, 2**62),
)


def floats(size: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.float32, size, elements=any_float32)


@st.composite
def spans(draw: st.DrawFn, size: int) -> tuple[VersionSpan, ...]:
    borders = sorted(draw(st.lists(st.integers(0, size), max_size=3)))
    edges = [0, *borders, size] if size or borders else [0]
    first = draw(st.integers(0, 2**40))
    return tuple(
        VersionSpan(version=first + n, start=a, end=b) for n, (a, b) in enumerate(itertools.pairwise(edges))
    )


@st.composite
def rollouts(draw: st.DrawFn) -> Rollout:
    size = draw(st.integers(0, 6))
    return Rollout(
        response_token_ids=draw(hnp.arrays(np.int32, size)),
        behaviour_logprobs=draw(floats(size)),
        version_spans=draw(spans(size)),
        finish_reason=draw(st.sampled_from(["stop", "length"])),
        text=draw(st.text(max_size=20)),
        reward=draw(st.floats(allow_nan=False)),
        reward_parts=draw(parts),
    )


@st.composite
def groups(draw: st.DrawFn) -> RolloutGroup:
    return RolloutGroup(
        group_id=draw(names),
        prompt=draw(prompts),
        prompt_token_ids=draw(hnp.arrays(np.int32, st.integers(0, 6))),
        rollouts=tuple(draw(st.lists(rollouts(), max_size=4))),
        generator=draw(names),
    )


@st.composite
def scored_groups(draw: st.DrawFn) -> ScoredGroup:
    group = draw(groups())

    def values() -> tuple[Any, ...]:
        return tuple(draw(floats(len(rollout.response_token_ids))) for rollout in group.rollouts)

    return ScoredGroup(
        group=group,
        proximal_logprobs=values(),
        dependency=values(),
        token_weights=values(),
        scorer_version=draw(st.integers(0, 2**40)),
        metrics=draw(parts),
        # A row a rollout holds them: without rollouts there are none.
        signals={name: values() for name in draw(st.sets(names, max_size=2)) if group.rollouts},
    )


def bits(item: Any) -> list[bytes]:
    """The bytes of all float arrays: equality by value takes one NaN, or -0.0 and 0.0, for another."""
    if isinstance(item, np.ndarray):
        return [item.tobytes()]
    if isinstance(item, dict):
        item = tuple(value for _, value in sorted(item.items()))
    if isinstance(item, tuple):
        return [b for part in item for b in bits(part)]
    if dataclasses.is_dataclass(item):
        return [b for field in dataclasses.fields(item) for b in bits(getattr(item, field.name))]
    return []


@settings(deadline=None, max_examples=150)
@given(item=groups() | scored_groups())
def test_a_group_scored_or_not_survives_encoding_and_pickling_to_the_bit(
    item: RolloutGroup | ScoredGroup,
) -> None:
    for copy in (decode(encode(item)), pickle.loads(pickle.dumps(item))):
        assert type(copy) is type(item)
        assert copy == item
        assert bits(copy) == bits(item)


@settings(deadline=None, max_examples=60)
@given(items=st.lists(groups() | scored_groups(), min_size=1, max_size=3))
def test_groups_scored_and_not_share_one_parquet_file(items: list[Any]) -> None:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([to_record_batch(item) for item in items]), file)
    (batch,) = pq.read_table(file).replace_schema_metadata(SCHEMA.metadata).combine_chunks().to_batches()
    assert [from_record_batch(batch, row) for row in range(len(items))] == items


@settings(deadline=None, max_examples=150)
@given(item=groups() | scored_groups(), data=st.data())
def test_an_encoding_cut_short_is_a_value_error_and_never_a_group(item: Any, data: st.DataObject) -> None:
    encoded = encode(item)
    end_marker = 8  # a stream without it still holds its one batch whole
    length = data.draw(st.integers(0, len(encoded) - end_marker - 1))
    with pytest.raises(ValueError, match=r"not an encoded group|schema version"):
        decode(encoded[:length])


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_bytes_that_were_never_a_group_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not an encoded group|schema version"):
        decode(data)


def test_a_group_of_another_schema_version_is_refused() -> None:
    schema = SCHEMA.with_metadata({"pgpo_async.group_schema": "7"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist([], schema=schema))
    with pytest.raises(ValueError, match="schema version must be 2, got 7"):
        decode(bytes(sink.getvalue()))


ERRORS: list[errors.PgpoError] = [
    errors.PgpoError("plain", step=3),
    errors.ConfigError(["first", "second"]),
    errors.ConfigError("one"),
    errors.PromptError("bad", reason="corrupt_image", prompt_id="p/1"),
    errors.RewardError("bad", reason="reward_invalid"),
    errors.RewardTimeout("late"),
    errors.WaitTimeout("a batch", 2.5, "is the generator alive?"),
    errors.LeaseError("gone"),
    errors.WeightError("torn"),
    errors.JournalError("damaged"),
    errors.StageFailed("dead", role="scorer"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_error_pickles_with_its_type_text_and_fields(error: errors.PgpoError) -> None:
    copy = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(error))))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    with pytest.raises(type(error).__mro__[1]):
        raise copy


def test_no_error_of_the_tree_is_left_out_above() -> None:
    tree = {
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.PgpoError)
    }
    assert tree == {type(error) for error in ERRORS}


tensors = st.builds(
    TensorEntry,
    name=names,
    dtype=st.sampled_from(["BF16", "F32"]),
    shape=st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
    checksum=names,
)
buckets = st.builds(
    BucketEntry,
    name=names,
    num_bytes=st.integers(0, 2**60),
    checksum=names,
    tensors=st.lists(tensors, max_size=3).map(tuple),
)
manifests = st.builds(
    WeightManifest, version=st.integers(0, 2**60), buckets=st.lists(buckets, max_size=3).map(tuple)
)


@settings(deadline=None)
@given(manifest=manifests)
def test_a_manifest_survives_json_with_its_sums(manifest: WeightManifest) -> None:
    copy = WeightManifest.from_json(manifest.to_json())
    assert copy == manifest
    assert copy.num_bytes == sum(bucket.num_bytes for bucket in manifest.buckets)
    assert copy.tensor_checksums() == manifest.tensor_checksums()


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"version": 1}', '{"version": 1, "buckets": [{"name": "a"}]}']
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        WeightManifest.from_json(text)
