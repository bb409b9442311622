"""Groups as Arrow record batches: one row a group, images once, one schema for wire, journal, audit log.

`encode` and `decode` are inverse to the bit. A scored group is the same row with four more columns in
its rollouts filled in, so one Parquet reader serves both. The schema's version rides in its metadata and
is checked on the way in.
"""

import numpy as np
import pyarrow as pa

from pgpo_async.contracts.rollouts import (
    Float32Array,
    Int32Array,
    Prompt,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    VersionSpan,
    content_hash,
)

SCHEMA_VERSION = 2

_SPAN = pa.struct([("version", pa.int64()), ("start", pa.int32()), ("end", pa.int32())])
_PART = pa.struct([("name", pa.string()), ("value", pa.float64())])
_SIGNAL = pa.struct([("name", pa.string()), ("values", pa.list_(pa.float32()))])
_ROLLOUT = pa.struct(
    [
        ("response_token_ids", pa.list_(pa.int32())),
        ("behaviour_logprobs", pa.list_(pa.float32())),
        ("version_spans", pa.list_(_SPAN)),
        ("finish_reason", pa.string()),
        ("text", pa.string()),
        ("reward", pa.float64()),
        ("reward_parts", pa.list_(_PART)),
        ("proximal_logprobs", pa.list_(pa.float32())),
        ("dependency", pa.list_(pa.float32())),
        ("token_weights", pa.list_(pa.float32())),
        ("signals", pa.list_(_SIGNAL)),
    ]
)
SCHEMA = pa.schema(
    [
        ("group_id", pa.string()),
        ("prompt_id", pa.string()),
        ("index", pa.int64()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("image_hashes", pa.list_(pa.string())),
        ("images", pa.list_(pa.large_binary())),
        ("prompt_token_ids", pa.list_(pa.int32())),
        ("generator", pa.string()),
        ("rollouts", pa.list_(_ROLLOUT)),
        ("scorer_version", pa.int64()),
        ("metrics", pa.list_(_PART)),
    ],
    metadata={"pgpo_async.group_schema": str(SCHEMA_VERSION)},
)


def to_record_batch(item: RolloutGroup | ScoredGroup) -> pa.RecordBatch:
    """Return one row of `SCHEMA` for a group, scored or not."""
    scored = item if isinstance(item, ScoredGroup) else None
    group = scored.group if scored else item
    assert isinstance(group, RolloutGroup)
    rollouts = [_rollout_row(r) for r in group.rollouts]
    if scored:
        for i, row in enumerate(rollouts):
            row["proximal_logprobs"] = scored.proximal_logprobs[i]
            row["dependency"] = scored.dependency[i]
            row["token_weights"] = scored.token_weights[i]
            row["signals"] = [
                {"name": name, "values": rows[i]} for name, rows in sorted(scored.signals.items())
            ]
    row = {
        "group_id": group.group_id,
        "prompt_id": group.prompt.prompt_id,
        "index": group.prompt.index,
        "question": group.prompt.question,
        "answer": group.prompt.answer,
        "image_hashes": [content_hash(image) for image in group.prompt.images],
        "images": list(group.prompt.images),
        "prompt_token_ids": group.prompt_token_ids,
        "generator": group.generator,
        "rollouts": rollouts,
        "scorer_version": scored.scorer_version if scored else None,
        "metrics": _parts(scored.metrics) if scored else None,
    }
    return pa.RecordBatch.from_pylist([row], schema=SCHEMA)


def from_record_batch(batch: pa.RecordBatch, row: int = 0) -> RolloutGroup | ScoredGroup:
    """Return the group in a row; a ScoredGroup where the row has been scored.

    Raises ValueError if the batch has another schema version.
    """
    version = (batch.schema.metadata or {}).get(b"pgpo_async.group_schema", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise ValueError(f"group schema version must be {SCHEMA_VERSION}, got {version}")
    cell = {name: batch.column(name)[row] for name in SCHEMA.names}
    prompt = Prompt(
        prompt_id=cell["prompt_id"].as_py(),
        question=cell["question"].as_py(),
        answer=cell["answer"].as_py(),
        images=tuple(cell["images"].as_py()),
        index=cell["index"].as_py(),
    )
    rows: pa.StructArray = cell["rollouts"].values
    columns = {name: rows.field(name) for name in ("response_token_ids", "behaviour_logprobs")}
    light = {
        name: rows.field(name).to_pylist()
        for name in ("version_spans", "finish_reason", "text", "reward", "reward_parts")
    }
    rollouts = tuple(
        Rollout(
            response_token_ids=_int32(columns["response_token_ids"][i]),
            behaviour_logprobs=_float32(columns["behaviour_logprobs"][i]),
            version_spans=tuple(VersionSpan(**span) for span in light["version_spans"][i]),
            finish_reason=light["finish_reason"][i],
            text=light["text"][i],
            reward=light["reward"][i],
            reward_parts={part["name"]: part["value"] for part in light["reward_parts"][i]},
        )
        for i in range(len(rows))
    )
    group = RolloutGroup(
        group_id=cell["group_id"].as_py(),
        prompt=prompt,
        prompt_token_ids=_int32(cell["prompt_token_ids"]),
        rollouts=rollouts,
        generator=cell["generator"].as_py(),
    )
    scorer_version = cell["scorer_version"].as_py()
    if scorer_version is None:
        return group
    scores = {
        name: tuple(_float32(rows.field(name)[i]) for i in range(len(rows)))
        for name in ("proximal_logprobs", "dependency", "token_weights")
    }
    metrics = {part["name"]: part["value"] for part in cell["metrics"].as_py()}
    return ScoredGroup(
        group=group,
        scorer_version=scorer_version,
        metrics=metrics,
        signals=_signals(rows.field("signals")),
        **scores,
    )


def encode(item: RolloutGroup | ScoredGroup) -> bytes:
    """Return the group as an Arrow IPC stream of one record batch."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_batch(to_record_batch(item))
    return bytes(sink.getvalue())


def decode(data: bytes) -> RolloutGroup | ScoredGroup:
    """Inverse of `encode`. Raises ValueError on bytes that are not one whole group."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
            batch = reader.read_next_batch()
    except (pa.ArrowInvalid, OSError, StopIteration) as error:
        raise ValueError(f"not an encoded group ({len(data)} bytes): {error}") from error
    return from_record_batch(batch)


def warm_up() -> None:
    """Do once, before it counts, what the first group would wait for: pyarrow imports pandas for it."""
    prompt = Prompt(prompt_id="", question="", answer="")
    nothing = np.zeros(0, np.int32)
    rollout = Rollout(
        response_token_ids=nothing,
        behaviour_logprobs=np.zeros(0, np.float32),
        version_spans=(),
        finish_reason="stop",
        text="",
    )
    group = RolloutGroup(group_id="", prompt=prompt, prompt_token_ids=nothing, rollouts=(rollout,))
    decode(encode(ScoredGroup.unscored(group)))


def _rollout_row(rollout: Rollout) -> dict[str, object]:
    return {
        "response_token_ids": rollout.response_token_ids,
        "behaviour_logprobs": rollout.behaviour_logprobs,
        "version_spans": [
            {"version": s.version, "start": s.start, "end": s.end} for s in rollout.version_spans
        ],
        "finish_reason": rollout.finish_reason,
        "text": rollout.text,
        "reward": rollout.reward,
        "reward_parts": _parts(rollout.reward_parts),
    }


def _parts(values: object) -> list[dict[str, object]]:
    return [{"name": name, "value": float(value)} for name, value in dict(values).items()]  # type: ignore[call-overload]


def _signals(column: pa.ListArray) -> dict[str, tuple[Float32Array, ...]]:
    found: dict[str, list[Float32Array]] = {}
    for rollout in column:
        for signal in rollout.values or ():
            found.setdefault(signal["name"].as_py(), []).append(_float32(signal["values"]))
    return {name: tuple(rows) for name, rows in found.items()}


def _int32(scalar: pa.ListScalar) -> Int32Array:
    return np.asarray(scalar.values.to_numpy(zero_copy_only=False), dtype=np.int32)


def _float32(scalar: pa.ListScalar) -> Float32Array:
    return np.asarray(scalar.values.to_numpy(zero_copy_only=False), dtype=np.float32)
