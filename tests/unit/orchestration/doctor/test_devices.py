from dataclasses import replace

import pytest

from pgpo_async.orchestration.doctor.devices import Devices, Gpu, device_lines, has_kernels

GIB = 1 << 30
GPU = Gpu(name="A100", memory_bytes=80 * GIB, free_bytes=80 * GIB, capability=(8, 0))
TWO = Devices(built_for="13.0", gpus=(GPU, GPU), kernels=("sm_80", "sm_90"))
NONE = Devices(built_for="13.0")
ON_GPUS = ("generator.gpus=1", "learner.gpus=1")


def levels(lines):
    return [line.level for line in lines]


def test_a_config_without_gpus_is_well_with_and_without_them(config, machine):
    assert levels(device_lines(config(), machine, NONE)) == ["ok"]
    assert levels(device_lines(config(), machine, TWO)) == ["ok"]


def test_gpus_that_are_asked_for_and_not_there_are_an_error_with_the_field(config, machine):
    assert levels(device_lines(config(*ON_GPUS), machine, TWO)) == ["ok"]
    (line,) = device_lines(config(*ON_GPUS, "generator.replicas=3"), machine, TWO)
    assert line.level == "error"
    assert "asks for 4 GPUs (generator 3 x 1, learner 1 x 1), but there are 2" in line.found
    assert "generator.gpus" in line.advice
    # Those of a cluster are looked at there.
    assert levels(device_lines(config(*ON_GPUS, "ray.address=auto"), machine, NONE)) == ["ok"]


def test_a_driver_that_torch_cannot_use_is_told_in_torchs_words(config, machine):
    old = Devices(
        built_for="13.0", problem="The NVIDIA driver on your system is too old (found version 12020)."
    )
    lines = list(device_lines(config(*ON_GPUS), machine, old))
    assert lines[0].level == "error"
    assert "too old (found version 12020)" in lines[0].found
    assert "CUDA 13.0" in lines[0].advice
    assert levels(device_lines(config(), machine, old)) == ["warning"]


def test_a_torch_without_cuda_beside_a_driver_is_told(config, machine):
    with_driver = replace(machine, nvidia_driver="NVRM version: 580")
    lines = list(device_lines(config(*ON_GPUS), with_driver, Devices(built_for="")))
    assert "built without CUDA" in lines[0].found
    assert levels(lines) == ["error", "error"]


def test_a_gpu_that_is_too_old_too_full_or_unknown_to_torch_is_told(config, machine):
    bad = Gpu(name="T4", memory_bytes=16 * GIB, free_bytes=GIB, capability=(7, 5))
    lines = device_lines(
        config("generator.gpus=1", "model.dtype=bfloat16"), machine, replace(TWO, gpus=(bad,))
    )
    found = [(line.level, line.found) for line in lines]
    assert [level for level, _ in found] == ["ok", "error", "error", "warning"]
    for text, (_, said) in zip(
        ("the config asks", "no kernels", "bfloat16", "1 GiB of 16 GiB"), found, strict=True
    ):
        assert text in said


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((8, 6), ("sm_80",), True),
        ((8, 0), ("sm_86",), False),
        ((9, 0), ("sm_80", "sm_86"), False),
        ((9, 0), ("sm_80", "compute_80"), True),
        ((12, 0), ("sm_90a", "sm_120"), True),
        ((10, 0), (), True),
    ],
)
def test_code_runs_on_its_own_generation_or_where_it_can_be_compiled(capability, kernels, runs):
    assert has_kernels(capability, kernels) is runs
