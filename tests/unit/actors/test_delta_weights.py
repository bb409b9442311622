"""Versions on their way from the learner's publisher through the store to nodes, without Ray."""

import itertools
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.actors.node_weights import Pulled, stage_newest
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.actors.weight_store import WeightStore
from pgpo_async.contracts import BucketPayload, WeightError, WeightManifest, WeightVersion
from pgpo_async.learner.publisher import WeightPublisher
from pgpo_async.policy.weight_files import read_version, tensor_checksum

torch.set_num_threads(1)
KEEP = 2
FULL_EVERY = 5
BUCKET_BYTES = 3000
Weights = dict[str, torch.Tensor]


class Objects(dict[int, bytes]):
    """An object store that never forgets; refs are numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._refs = itertools.count()

    def put(self, data: bytes) -> int:
        ref = next(self._refs)
        self[ref] = data
        return ref


class Learner:
    """A publisher with its store, both in this process."""

    def __init__(self, full_every: int = FULL_EVERY) -> None:
        self.objects = Objects()
        self.store = WeightStore(KEEP, self.objects)
        self.payloads: dict[tuple[int, str], BucketPayload] = {}
        self.publisher = WeightPublisher(self._publish, BUCKET_BYTES, full_every=full_every)
        self.failing = False

    def _publish(self, manifest: WeightManifest, payloads: list[BucketPayload]) -> None:
        if self.failing:
            # Half of it arrives.
            self.store.add_bucket(manifest.version, manifest.buckets[0], payloads[0])
            raise OSError("the learner's network is gone")
        self.store.publish(manifest, payloads)
        sent = zip(manifest.buckets, payloads, strict=True)
        self.payloads |= {(manifest.version, entry.name): payload for entry, payload in sent}

    def publish(self, version: int, weights: Weights) -> None:
        copies = {name: tensor.clone() for name, tensor in weights.items()}
        self.publisher.submit(version, copies)
        self.publisher.flush(30.0)

    def pull(self, have: Sequence[int]) -> Pulled | None:
        return None if self.store.latest is None else self.store.pull(self.store.latest, have)

    def get(self, refs: list[object]) -> list[bytes]:
        return [self.objects[ref] for ref in refs]  # type: ignore[index]

    def needed_bytes(self) -> int:
        """Of the newest versions, and of all that leads to them."""
        versions = sorted({version for version, _ in self.payloads})[-KEEP:]
        needed: dict[tuple[int, str], int] = {}
        for version, name in [key for key in self.payloads if key[0] in versions]:
            at: int | None = version
            while at is not None:
                payload = self.payloads[at, name]
                needed[at, name] = len(payload.data)
                at = payload.base
        return sum(needed.values())


class Node:
    """A receiver with its staged versions."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.staging = NodeStaging("run", root)
        self.fetched: list[int] = []

    def follow(self, learner: Learner) -> WeightVersion:
        def get(refs: list[object]) -> list[bytes]:
            self.fetched += [int(str(ref)) for ref in refs]
            return learner.get(refs)

        self.fetched = []
        staged = stage_newest(learner.pull, get, self.staging, KEEP)
        assert staged is not None
        assert len(self.staging.versions()) <= KEEP
        return staged

    def lose(self) -> None:
        for version in self.staging.versions():
            shutil.rmtree(self.staging.folder_of(version))

    def tear(self) -> None:
        """Files of staged versions are gone, or other ones."""
        for number, version in enumerate(self.staging.versions()):
            path = next(self.staging.folder_of(version).glob("bucket*"))
            if number % 2:
                path.unlink()
            else:
                data = bytearray(path.read_bytes())
                data[len(data) // 2] ^= 1
                path.write_bytes(data)


@pytest.fixture
def root() -> Iterator[Path]:
    path = Path("/dev/shm") / f"pgpo_async_test-{uuid.uuid4().hex}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def start_weights(dtype: torch.dtype, random: np.random.Generator) -> Weights:
    sizes = {"embed": (40, 30), "layer.0": (33, 17), "layer.1": (64, 20), "norm": (31,), "scale": ()}
    return {
        name: torch.from_numpy(np.asarray(random.standard_normal(size))).to(dtype)
        for name, size in sizes.items()
    }


def train(weights: Weights, share: float, random: np.random.Generator) -> None:
    for tensor in weights.values():
        moved = torch.from_numpy(np.asarray(random.random(tuple(tensor.shape)) < share))
        tensor.copy_(torch.where(moved, tensor * 1.01 + 1e-3, tensor))


def staged_right(staged: WeightVersion, weights: Weights) -> None:
    found = dict(read_version(Path(staged.folder), verify=True))
    assert {name: tensor_checksum(tensor) for name, tensor in found.items()} == {
        name: tensor_checksum(tensor) for name, tensor in weights.items()
    }


@settings(max_examples=6, deadline=None)
@given(st.sampled_from([torch.bfloat16, torch.float32]), st.integers(0, 2**32 - 1))
def test_over_50_versions_every_node_has_the_published_files_to_the_bit(
    dtype: torch.dtype, seed: int
) -> None:
    root = Path("/dev/shm") / f"pgpo_async_test-{uuid.uuid4().hex}"
    random = np.random.default_rng(seed)
    learner = Learner()
    nodes = [Node(root / str(number)) for number in range(3)]
    weights = start_weights(dtype, random)
    version = -1
    try:
        for _ in range(50):
            version += int(random.choice([1, 1, 1, 3]))
            learner.publish(version, weights)
            assert learner.store.num_bytes == learner.needed_bytes()
            for node in nodes:
                what = random.random()
                if what < 0.1:
                    node.lose()
                elif what < 0.2:
                    node.tear()
                if what < 0.6:
                    staged = node.follow(learner)
                    assert staged.version == version
                    staged_right(staged, weights)
            train(weights, float(random.choice([0.0, 0.01, 0.05, 0.25, 0.4, 1.0])), random)
        bases = [payload.base for payload in learner.payloads.values()]
        assert None in bases[5:]
        assert set(bases) != {None}, "some came as changes"
    finally:
        learner.publisher.close()
        shutil.rmtree(root)


def test_a_node_that_keeps_up_fetches_only_changes(root: Path) -> None:
    learner, node, late = Learner(full_every=10), Node(root / "run"), Node(root / "late")
    random = np.random.default_rng(0)
    weights = start_weights(torch.bfloat16, random)
    fetched = []
    for version in range(11):
        learner.publish(version, weights)
        staged_right(node.follow(learner), weights)
        fetched.append(sum(len(learner.objects[ref]) for ref in node.fetched))
        train(weights, 0.02, random)
    assert fetched[0] == fetched[10]
    assert max(fetched[1:10]) < 0.4 * fetched[0], "small files: much of a change is heads"
    learner.publish(11, weights)
    staged_right(late.follow(learner), weights)
    assert len(late.fetched) == 2 * len(learner.store.manifest(11).buckets), "whole files and a change each"


def test_a_number_published_again_after_a_restore_replaces_what_the_node_has(root: Path) -> None:
    random = np.random.default_rng(0)
    weights = start_weights(torch.float32, random)
    node, before = Node(root), Learner()
    for version in range(4):
        before.publish(version, weights)
        node.follow(before)
        train(weights, 0.1, random)
    # The learner that comes back counts from its checkpoint on, with a store of its own.
    after = Learner()
    for version in (2, 3, 4):
        after.publish(version, weights)
        if version > 2:
            staged_right(node.follow(after), weights)
        train(weights, 0.1, random)


def test_after_a_publication_that_failed_the_next_is_whole_and_the_chain_goes_on(root: Path) -> None:
    random = np.random.default_rng(0)
    weights = start_weights(torch.bfloat16, random)
    learner, node = Learner(full_every=100), Node(root)
    for version in range(12):
        learner.failing = version in (3, 4, 5, 9)
        if learner.failing:
            with pytest.raises(WeightError, match="could not be published"):
                learner.publish(version, weights)
        else:
            learner.publish(version, weights)
            staged_right(node.follow(learner), weights)
        train(weights, 0.02, random)
    bases = {version: payload.base for (version, _), payload in learner.payloads.items()}
    assert bases == {0: None, 1: 0, 2: 1, 6: None, 7: 6, 8: 7, 10: None, 11: 10}


def test_a_change_that_leads_elsewhere_is_told_and_stages_nothing(root: Path) -> None:
    random = np.random.default_rng(0)
    weights = start_weights(torch.bfloat16, random)
    learner, node = Learner(), Node(root)
    learner.publish(0, weights)
    node.follow(learner)
    train(weights, 0.02, random)
    learner.publish(1, weights)
    for ref, data in list(learner.objects.items())[len(learner.objects) // 2 :]:
        learner.objects[ref] = data[:-1]
    with pytest.raises(WeightError, match="a weight delta must be"):
        node.follow(learner)
    assert node.staging.versions() == [0]
