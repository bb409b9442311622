"""What of a version must be sent: whole files, or what changed in them since the version sent before.

Owns the memory of the last version sent, which costs one more copy of the model on the host. Used by
`publisher`, in its thread.
"""

from pgpo_async.contracts import BucketEntry, BucketPayload
from pgpo_async.policy.weight_delta import encode_delta

ELEMENT_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2}
"""By safetensors' names; 1 for the rest."""


class DeltaPayloads:
    """Every `full_every`-th version is sent whole, so that no receiver needs more deltas than that less one.

    For each version: `payload` of all its buckets, then `sent`, or `forget` if it could not be sent.
    """

    def __init__(self, full_every: int) -> None:
        if full_every < 1:
            raise ValueError(f"full_every must be at least 1, got {full_every}")
        self._full_every = full_every
        self._num_deltas = 0
        self._base: int | None = None
        self._files: dict[str, bytes] = {}

    def payload(self, entry: BucketEntry, data: bytes) -> BucketPayload:
        """What to send of a bucket's file: all of it where much changed. The file replaces the one before."""
        before = self._files.pop(entry.name, None)
        if self._full_every > 1:
            self._files[entry.name] = data
        if before is None or self._base is None or self._num_deltas + 1 >= self._full_every:
            return BucketPayload(data=data)
        delta = encode_delta(before, data, _width(entry))
        return BucketPayload(data=data) if delta is None else BucketPayload(data=delta, base=self._base)

    def sent(self, version: int, payloads: list[BucketPayload]) -> None:
        """Take a version whose payloads were all sent as the base of the next."""
        whole = all(payload.base is None for payload in payloads)
        self._num_deltas = 0 if whole else self._num_deltas + 1
        self._base = version

    def forget(self) -> None:
        """Send the next version whole: what receivers have of this one is not known."""
        self._base, self._files = None, {}


def _width(entry: BucketEntry) -> int:
    """Bytes of the bucket's narrowest elements: wider ones count as several."""
    return min((ELEMENT_BYTES.get(tensor.dtype, 1) for tensor in entry.tensors), default=1)
