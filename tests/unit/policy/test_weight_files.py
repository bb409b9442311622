"""Packing a version into bucket files and reading it back."""

import pytest
import torch

from pgpo_async.contracts import WeightError
from pgpo_async.contracts.weights import MANIFEST_NAME
from pgpo_async.policy.weight_files import read_version, tensor_checksum, write_buckets

torch.set_num_threads(1)


def put(folder, manifest, files):
    for bucket, data in zip(manifest.buckets, files, strict=True):
        (folder / bucket.name).write_bytes(data)
    (folder / MANIFEST_NAME).write_text(manifest.to_json())


def awkward_tensors():
    torch.manual_seed(0)
    buffer = torch.randn(6, 8)
    tied = torch.randn(4, 4)
    return {
        "view": buffer[1:3],
        "other_view": buffer[3:5],
        "transposed": buffer.T,
        "tied": tied,
        "tied_again": tied,
        "half": torch.randn(5, 3).bfloat16(),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "nan": torch.tensor([float("nan"), -0.0]),
        "parameter": torch.nn.Parameter(torch.randn(3)),
    }


@pytest.mark.parametrize("bucket_bytes", [1, 100, 1 << 20])
def test_every_tensor_comes_back_bit_by_bit_in_order(tmp_path, bucket_bytes):
    tensors = awkward_tensors()
    manifest, files = write_buckets(7, tensors.items(), bucket_bytes)
    put(tmp_path, manifest, files)
    assert manifest.version == 7
    assert manifest.num_bytes == sum(len(data) for data in files)
    back = dict(read_version(tmp_path, verify=True))
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].shape == tensor.shape
        assert tensor_checksum(back[name]) == tensor_checksum(tensor) == manifest.tensor_checksums()[name]


def test_buckets_hold_at_most_their_bytes_and_a_larger_tensor_is_alone():
    tensors = [
        ("a", torch.zeros(10)),
        ("b", torch.zeros(10)),
        ("big", torch.zeros(100)),
        ("c", torch.zeros(10)),
    ]
    manifest, _ = write_buckets(0, tensors, 80)
    assert [[t.name for t in bucket.tensors] for bucket in manifest.buckets] == [["a", "b"], ["big"], ["c"]]
    assert [t.dtype for t in manifest.buckets[0].tensors] == ["F32", "F32"]


def test_checksums_follow_the_values_and_nothing_else():
    first, _ = write_buckets(0, [("w", torch.arange(6.0).reshape(2, 3))], 1 << 20)
    same, _ = write_buckets(9, [("w", torch.arange(6.0).reshape(2, 3).T.contiguous().T)], 1 << 20)
    changed, _ = write_buckets(0, [("w", torch.arange(6.0).reshape(2, 3) + 1)], 1 << 20)
    assert first.buckets == same.buckets
    assert first.buckets != changed.buckets


@pytest.mark.parametrize("bucket_bytes", [1, 1 << 20])
def test_a_name_given_twice_is_refused(bucket_bytes):
    with pytest.raises(ValueError, match="must be unique, got w twice"):
        write_buckets(0, [("w", torch.ones(2)), ("w", torch.ones(2))], bucket_bytes)


def test_torn_missing_and_changed_files_are_weight_errors(tmp_path):
    manifest, files = write_buckets(0, [("w", torch.ones(4))], 1 << 20)
    with pytest.raises(WeightError, match="must hold a staged version"):
        list(read_version(tmp_path))
    put(tmp_path, manifest, files)
    path = tmp_path / manifest.buckets[0].name
    path.write_bytes(files[0][:-1] + bytes([files[0][-1] ^ 1]))
    assert len(list(read_version(tmp_path))) == 1
    with pytest.raises(WeightError, match="must have checksum"):
        list(read_version(tmp_path, verify=True))
    path.write_bytes(files[0][:-8])
    with pytest.raises(WeightError, match="must hold its tensors"):
        list(read_version(tmp_path))
    path.unlink()
    with pytest.raises(WeightError, match="must hold its tensors"):
        list(read_version(tmp_path))
