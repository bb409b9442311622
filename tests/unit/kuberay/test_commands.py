"""`pgpo-async k8s render | check | tree`, as a user calls them."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pgpo_async.cli import app

ROOT = Path(__file__).parents[3]
LOCAL = str(ROOT / "configs/local.yaml")


def call(*arguments):
    return CliRunner().invoke(app, ["k8s", *map(str, arguments)])


def test_render_prints_documents_that_a_cluster_takes(tmp_path):
    told = call("render", LOCAL, "--overlay", "cpu-demo")
    assert told.exit_code == 0, told.output
    kinds = [found["kind"] for found in yaml.safe_load_all(told.stdout)]
    assert kinds[0] == "Namespace"
    assert kinds[-1] == "RayJob"


def test_render_writes_a_folder_that_check_finds_well(tmp_path):
    folder = tmp_path / "demo"
    told = call("render", LOCAL, "train.num_steps=5", "--overlay", "cpu-demo", "--output", folder)
    assert told.exit_code == 0, told.output
    assert "generator  1     500m" in told.stdout
    assert f"pgpo-async k8s check {folder}" in told.stdout
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in folder.iterdir()} == {*listed, "kustomization.yaml"}
    checked = call("check", folder)
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["render", "configs/locl.yaml"], "no such file"),
        (["render", LOCAL, "--overlay", "cpu"], "--overlay: must be one of base, cpu-demo"),
        (["render", LOCAL, "--set", "storage.sise=1Gi"], "did you mean `size`"),
        (["render", LOCAL, "train.num_stps=1"], "did you mean `num_steps`"),
        (["tree", "somewhere", "--config", "nowhere.yaml"], "no such file"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(arguments, words):
    told = call(*arguments)
    assert told.exit_code == 2, told.output
    assert words in told.stderr
    assert "Traceback" not in told.output
    assert told.stdout == ""


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    told = call("render", LOCAL, "--overlay", "cpu-demo", "--output", tmp_path / "file")
    assert told.exit_code == 2
    assert "cannot be written" in told.stderr
