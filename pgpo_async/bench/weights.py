"""`pgpo-async bench weights`: weight versions from the learner's publisher to a model's tensors.

All but Ray is the run's own code: `WeightPublisher` packs and encodes in its thread, `WeightStore` checks and
routes, `node_weights` and `NodeStaging` rebuild files in shared memory, `read_version` maps them. Objects are
handed over inside this process, so what Ray takes to copy them is not in the figures. The model is synthetic;
what an update of a real engine costs is `weights_pause`'s.
"""

import math
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from pgpo_async.actors.node_weights import Pulled, stage_newest
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.actors.weight_store import WeightStore
from pgpo_async.bench.timing import machine
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import BucketPayload, ConfigError, WeightManifest, WeightVersion
from pgpo_async.learner.publisher import WeightPublisher
from pgpo_async.policy.weight_files import HostWeights, read_version, tensor_checksum

NUM_LAYERS = 32
ROW_ELEMENTS = 1024
STAGED_COPIES = 3
"""In shared memory at once: two versions kept and the one being written."""

_RAW = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}
_CHANGED_BITS = 3


class WeightPath:
    """A publisher, a store and a node's staging folder in this process. A context manager."""

    def __init__(self, config: WeightsConfig) -> None:
        self.staging = NodeStaging(f"bench-weights-{uuid.uuid4().hex}")
        self.sent_bytes = self.file_bytes = 0
        self._config = config
        self._store = WeightStore(config.keep_versions, _OwnObjects())
        self._publisher = WeightPublisher(self._take, config.bucket_bytes, full_every=config.full_every)

    def publish(self, version: int, weights: HostWeights) -> float:
        """Hand a version over and wait until the store has it; returns the seconds."""
        started_s = time.perf_counter()
        self._publisher.submit(version, weights)
        self._publisher.flush(self._config.load_timeout_s)
        return time.perf_counter() - started_s

    def stage(self) -> WeightVersion:
        """The newest version in shared memory."""
        staged = stage_newest(self._pull, _own_bytes, self.staging, self._config.keep_versions)
        assert staged is not None, "a version must be published first"
        return staged

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._publisher.close()
        self.staging.remove()

    def _take(self, manifest: WeightManifest, payloads: list[BucketPayload]) -> None:
        self._store.publish(manifest, payloads)
        self.sent_bytes = sum(len(payload.data) for payload in payloads)
        self.file_bytes = manifest.num_bytes

    def _pull(self, have: Sequence[int]) -> Pulled | None:
        return None if self._store.latest is None else self._store.pull(self._store.latest, have)


class _OwnObjects:
    """An object store in which an object is its own ref."""

    def put(self, data: bytes) -> bytes:
        return data


def _own_bytes(refs: list[object]) -> list[bytes]:
    return [ref for ref in refs if isinstance(ref, bytes)]


def bench_versions(
    *,
    gigabytes: float,
    changed: float,
    versions: int,
    full_every: int,
    seed: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Figures of a bf16 model of `gigabytes` (1e9 bytes) in which the share `changed` moves a version.

    Seconds are medians over the versions sent as what changed; those of the whole ones are `full_*`. Raises
    ConfigError without room in shared memory, WeightError if a version could not be published or staged.
    """
    config = WeightsConfig(full_every=full_every)
    num_bytes = int(gigabytes * 1e9)
    with _one_thread(), WeightPath(config) as path:
        check_room(path.staging.folder, num_bytes)
        torch.manual_seed(seed)
        say("making the model")
        weights = synthetic_weights(num_bytes)
        model = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
        seconds: dict[str, list[float]] = {}
        sent: list[int] = []
        files: list[int] = []
        num_exact = 0
        for version in range(versions):
            say(f"version {version + 1} of {versions}")
            if version:
                change(weights, changed)
            for name, value in _one_version(path, version, weights, model).items():
                seconds.setdefault(name, []).append(value)
            num_exact += _checksums(model) == _checksums(weights)
            sent.append(path.sent_bytes)
            files.append(path.file_bytes)
            seconds.setdefault("memcpy_s", []).append(_seconds(lambda: _copy(model.items(), into=weights)))
    whole = [version % full_every == 0 for version in range(versions)]
    return {
        **_summary(seconds, sent, files, whole),
        "bit_exact": num_exact == versions,
        "model_bytes": sum(tensor.nbytes for tensor in weights.values()),
        "changed": changed,
        "versions": versions,
        "full_every": full_every,
        "transport": "inside this process",
        **machine(torch.device("cpu")),
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """A copy by several of torch's threads waits for the last: on a busy machine that says little."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_room(folder: Path, num_bytes: int) -> None:
    """Raise ConfigError unless the staged versions of a model fit beside what is there."""
    free = shutil.disk_usage(folder).free
    if STAGED_COPIES * num_bytes > free:
        raise ConfigError(
            f"--gigabytes: {STAGED_COPIES} versions must fit into {folder.parent}, got {num_bytes:,} bytes "
            f"each and {free:,} bytes free"
        )


def synthetic_weights(num_bytes: int) -> HostWeights:
    """Normal bf16 weights of about `num_bytes` in layers, each a matrix and a vector."""
    rows = max(1, round(num_bytes / (2 * NUM_LAYERS * ROW_ELEMENTS)))
    weights: HostWeights = {}
    for layer in range(NUM_LAYERS):
        matrix = torch.empty(rows, ROW_ELEMENTS, dtype=torch.bfloat16)
        weights[f"layers.{layer}.weight"] = matrix.normal_(0, 0.02)
        weights[f"layers.{layer}.norm"] = torch.ones(ROW_ELEMENTS, dtype=torch.bfloat16)
    return weights


def change(weights: HostWeights, share: float) -> None:
    """Flip some of the last bits of a share (below 1) of all elements, drawn anew; zeros stay zeros.

    An update of reinforcement learning moves a bf16 weight by a unit or two in the last place, if at all.
    """
    for tensor in weights.values():
        flat = tensor.view(_RAW[tensor.dtype]).view(-1)
        # Some places are drawn twice: so many draws give that share of different ones.
        draws = round(-math.log1p(-share) * len(flat))
        places = torch.randint(len(flat), (draws,))
        bits = torch.randint(1, 1 << _CHANGED_BITS, (draws,), dtype=flat.dtype)
        old = flat[places]
        is_zero = (old & torch.iinfo(flat.dtype).max) == 0
        flat[places] = torch.where(is_zero, old, old ^ bits)


def _one_version(
    path: WeightPath, version: int, weights: HostWeights, model: HostWeights
) -> dict[str, float]:
    """Seconds of a version's way into the model."""
    publish_s = path.publish(version, weights)
    started_s = time.perf_counter()
    staged = path.stage()
    stage_s = time.perf_counter() - started_s
    with path.staging.reading(Path(staged.folder)) as folder:
        load_s = _seconds(lambda: _copy(read_version(folder), into=model))
    return {"publish_s": publish_s, "stage_s": stage_s, "load_s": load_s}


def _copy(tensors: Iterable[tuple[str, torch.Tensor]], into: HostWeights) -> None:
    for name, tensor in tensors:
        into[name].copy_(tensor)


def _seconds(run: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    run()
    return time.perf_counter() - started_s


def _checksums(weights: Mapping[str, torch.Tensor]) -> dict[str, str]:
    return {name: tensor_checksum(tensor) for name, tensor in weights.items()}


def _summary(
    seconds: Mapping[str, Sequence[float]], sent: Sequence[int], files: Sequence[int], whole: Sequence[bool]
) -> dict[str, Any]:
    def over(wanted: bool, values: Sequence[float]) -> list[float]:
        return [value for value, is_whole in zip(values, whole, strict=True) if is_whole == wanted]

    some, rest = (False, True) if not all(whole) else (True, False)
    return {
        "delta_bytes_fraction": sum(over(some, sent)) / sum(over(some, files)),
        "overall_bytes_fraction": sum(sent) / sum(files),
        **{name: statistics.median(over(some, values)) for name, values in seconds.items()},
        **{f"full_{name}": statistics.median(over(rest, v) or v) for name, v in seconds.items()},
    }
