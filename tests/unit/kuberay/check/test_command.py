"""`k8s check`: what it reads, what it prints, its exit codes."""

import io
import json
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from pgpo_async.kuberay.check.command import check


@pytest.fixture
def run(capsys):
    """Run the command; return its exit code, and the lines that it printed."""

    def _run(folder, **options):
        with pytest.raises(SystemExit) as end:
            check(folder, **options)
        told = capsys.readouterr()
        return end.value.code, (told.out + told.err).splitlines()

    return _run


def test_a_folder_without_faults_is_one_line_and_exit_code_0(run, folder, planted, crds):
    assert run(folder(planted.bodies), crds=crds) == (0, ["15 objects: 0 errors, 0 warnings"])


def test_an_error_names_file_object_and_field_and_exits_1(run, folder, planted, crds, tmp_path):
    del planted.job["shutdownAfterJobFinishes"]
    code, lines = run(folder(planted.bodies), crds=crds)
    assert code == 1
    assert lines == [
        f"{tmp_path}/09-rayjob.yaml: RayJob/pgpo-demo: spec.ttlSecondsAfterFinished: "
        "needs shutdownAfterJobFinishes: true",
        "15 objects: 1 error, 0 warnings",
    ]


def test_warnings_leave_the_exit_code_alone(run, folder, planted, crds):
    planted.drop("PersistentVolumeClaim")
    code, lines = run(folder(planted.bodies), crds=crds)
    assert code == 0
    assert lines[0].startswith("warning: ")
    assert lines[-1] == "14 objects: 0 errors, 1 warning"


def test_the_same_figures_are_written_as_json(run, folder, planted, crds, tmp_path):
    planted.head["serviceType"] = "NodePort"
    out = tmp_path / "found.json"
    run(folder(planted.bodies), crds=crds, json=out)
    found = json.loads(out.read_text())
    assert {key: found[key] for key in ("errors", "warnings", "objects")} == {
        "errors": 1,
        "warnings": 0,
        "objects": 15,
    }
    assert found["findings"] == [
        {
            "file": f"{tmp_path}/09-rayjob.yaml",
            "object": "RayJob/pgpo-demo",
            "field": "spec.rayClusterSpec.headGroupSpec.serviceType",
            "message": "must be ClusterIP, got NodePort: it exposes Ray",
            "level": "error",
        }
    ]


def test_a_missing_folder_names_the_nearest(run, tmp_path):
    (tmp_path / "overlay").mkdir()
    assert run(tmp_path / "overlays") == (
        2,
        [f"{tmp_path}/overlays: no such folder or file, did you mean {tmp_path}/overlay?"],
    )


def test_what_is_neither_folder_nor_file_is_refused(run):
    assert run(Path("/dev/null")) == (2, ["/dev/null: must be a folder or a file; `-` reads stdin"])


def test_several_kustomizations_are_to_be_checked_one_at_a_time(run, tmp_path):
    for name in ("base", "gpu"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kustomization.yaml").write_text("resources: []\n")
    code, [line] = run(tmp_path)
    assert (code, line.endswith(f"check one at a time: {tmp_path}/base, {tmp_path}/gpu")) == (2, True)


@pytest.mark.parametrize("text", [None, "# nothing\n---\n"])
def test_a_folder_without_objects_exits_2(run, tmp_path, text):
    if text:
        (tmp_path / "a.yaml").write_text(text)
    code, [line] = run(tmp_path)
    assert (code, "no manifests in it" in line) == (2, True)


def test_a_folder_that_has_no_definitions_is_refused(run, folder, planted, tmp_path):
    code, [line] = run(folder(planted.bodies), crds=tmp_path)
    assert (code, line.startswith(f"--crds: {tmp_path} must be a folder with ray.io_rayjobs.yaml")) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: A\nmetadata:\n  name: a\n  name: b\n", "line 4: duplicate key `name`, first at line 3"),
        ("kind: A\nmetadata: {name: a\n", "line 3: "),
        ("kind: !!python/name:os.system A\n", "line 1: could not determine a constructor"),
        ("1: 2\n", "line 1: a key must be text, got 1; put it in quotes"),
        ("kind: A\n\x00\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("kind: " + "[" * 200 + "]" * 200, "must be nested at most 100 deep"),
        (
            "a: &a [1]\n" + "".join(f"{x}: &{x} [{f'*{y}, ' * 20}]\n" for y, x in pairwise("abcdefghij")),
            "aliases",
        ),
        ("a: &a [*a]\n", "not valid YAML"),
    ],
)
def test_what_is_no_yaml_is_an_error_with_its_line_and_the_rest_is_checked(run, tmp_path, text, told):
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: B}\n")
    code, lines = run(tmp_path)
    assert code == 1
    assert any(line.startswith(f"{tmp_path}/a.yaml: not valid YAML: ") and told in line for line in lines)
    assert any("Namespace/B: metadata.name: must be a DNS-1123 label" in line for line in lines)


def test_a_document_that_is_no_object_is_an_error(run, tmp_path):
    (tmp_path / "a.yaml").write_text("- a\n---\ntrain: {num_steps: 3}\n")
    assert run(tmp_path)[1][:2] == [
        f"{tmp_path}/a.yaml: a document must be a mapping, got list",
        f"{tmp_path}/a.yaml: (no kind)/(no name): must be a Kubernetes object, "
        "got neither apiVersion nor kind",
    ]


def test_a_list_is_what_its_items_are(run, planted, crds, tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": planted.bodies}))
    assert run(file, crds=crds) == (0, ["15 objects: 0 errors, 0 warnings"])


def test_a_dash_reads_stdin(run, planted, crds, monkeypatch):
    from pgpo_async.kuberay.check.reading import STDIN

    text = yaml.safe_dump_all(planted.bodies)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run(STDIN, crds=crds) == (0, ["15 objects: 0 errors, 0 warnings"])


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")
def test_a_kustomization_is_checked_as_it_renders(run, folder, planted, crds):
    path = folder(planted.bodies)
    files = sorted(file.name for file in path.iterdir())
    patch = [{"op": "replace", "path": "/spec/rayClusterSpec/rayVersion", "value": "2.50.0"}]
    kustomization = {
        "resources": files,
        "patches": [{"target": {"kind": "RayJob"}, "patch": yaml.safe_dump(patch)}],
    }
    (path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    code, lines = run(path, crds=crds)
    assert code == 1
    assert [line for line in lines if "rayVersion: must be 2.52.0 or later" in line]
    assert lines[-1] == "15 objects: 1 error, 0 warnings"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on PATH")
def test_a_kustomization_that_does_not_render_says_why(run, tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [absent.yaml]\n")
    code, [line] = run(tmp_path)
    assert code == 2
    assert f"`kubectl kustomize {tmp_path}` failed" in line
    assert "absent.yaml" in line


def test_without_kustomize_a_kustomization_says_what_to_install(run, tmp_path, monkeypatch):
    (tmp_path / "kustomization.yaml").write_text("resources: []\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, [line] = run(tmp_path)
    assert code == 2
    assert "neither kubectl nor kustomize is on PATH: install one" in line
