"""What is exported is the trained model, whole, and nothing else's place is taken."""

import fcntl
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from pgpo_async.contracts import ConfigError
from pgpo_async.export.command import export_run
from pgpo_async.learner import manifest


def refused(done):
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr.strip()


@pytest.mark.parametrize("part", ["", "model"])
def test_an_exported_model_loads_with_the_trained_weights_and_its_processor(new_run, run_command, part):
    run = new_run().whole()
    done = run_command(run.path / part)
    folder = run.path / "hf"
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, str(folder))
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    loaded, trained = model.state_dict(), load_file(run.weights)
    ours = AutoModelForImageTextToText.from_pretrained(run.model, dtype=torch.float32).state_dict()
    assert loaded.keys() == ours.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in ours.items())
    exported = load_file(folder / "model.safetensors")
    assert exported.keys() == trained.keys()
    assert all(torch.equal(exported[name], tensor) for name, tensor in trained.items())
    assert AutoProcessor.from_pretrained(folder).tokenizer("red")["input_ids"]
    assert model.generation_config.eos_token_id == [2, 0]


def test_every_file_is_in_the_manifest_is_told_with_its_bytes_and_may_be_read_by_others(new_run, run_command):
    run = new_run().whole()
    done = run_command(run.path)
    folder = run.path / "hf"
    manifest.verify(folder)
    files = manifest.read(folder).files
    assert {"README.md", "model.safetensors", "config.json"} <= files.keys()
    for name, entry in files.items():
        assert f"{entry.num_bytes:,} bytes  {name}\n" in done.stdout
    rights = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert rights == {folder.stat().st_mode & 0o666}
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Exception, match="safetensors"):
        manifest.verify(folder)


@pytest.mark.parametrize("zero_stage", [1, 2])
def test_a_checkpoint_is_exported_without_deepspeed_with_its_own_weights(new_run, zero_stage):
    run = new_run().whole()
    state = run.checkpointed(8, zero_stage=zero_stage)
    folder = export_run(run.path, run.path / "at-8", checkpoint="step-00000008").folder
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    loaded = dict(model.named_parameters())
    assert len(loaded) > 60
    assert all(torch.equal(tensor, state[f"model.{name}"]) for name, tensor in loaded.items())
    # As the learner would have saved it: with the run's image limits.
    assert AutoProcessor.from_pretrained(folder).image_processor.size["longest_edge"] == 40000


def test_a_checkpoint_of_a_run_under_way_can_be_exported_but_its_model_cannot(new_run, run_command):
    run = new_run().configured().trained()
    run.checkpointed(8)
    with (run.path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = refused(run_command(run.path))
        assert "wait for its end; --checkpoint step-00000008 exports" in told
        assert export_run(run.path, checkpoint="step-00000008").folder == run.path / "hf"


def test_a_checkpoint_in_parts_is_refused_with_the_way_to_its_model(new_run, run_command):
    run = new_run().configured().trained().summed_up(status="interrupted")
    run.checkpointed(8, zero_stage=3)
    told = refused(run_command(run.path, "--checkpoint", "step-00000008"))
    assert "must be of ZeRO stage 1 or 2, got step-00000008 of stage 3" in told
    assert f"--resume {run.path}/checkpoints/step-00000008`" in told
    assert not (run.path / "hf").exists()


def test_a_damaged_checkpoint_is_refused_before_it_is_unpickled(new_run, run_command, monkeypatch):
    run = new_run().whole()
    run.checkpointed(8)
    states = run.path / "checkpoints" / "step-00000008" / "mp_rank_00_model_states.pt"
    states.write_bytes(states.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("was unpickled"))
    assert "does not match its checksum" in refused(run_command(run.path, "--checkpoint", "step-00000008"))


def test_an_unknown_checkpoint_is_told_with_those_there_are(new_run, run_command):
    run = new_run().whole()
    run.checkpointed(8)
    told = refused(run_command(run.path, "--checkpoint", "../model"))
    assert "(step-00000008), got '../model'" in told


@pytest.mark.parametrize(
    ("status", "way"),
    [
        ("interrupted", "go on with `pgpo-async launch "),
        ("failed", "go on with `pgpo-async launch "),
        ("completed", "bring that folder back"),
    ],
)
def test_a_run_without_a_model_is_told_with_what_to_do(new_run, run_command, status, way):
    told = refused(run_command(new_run().configured().trained().summed_up(status=status).path))
    assert f"must hold the trained model in model/, got none (run {status}): {way}" in told


def test_an_interrupted_run_that_saved_its_model_is_exported(new_run, run_command):
    run = new_run().configured().trained(5).summed_up(status="interrupted", accuracy_after=None).with_model()
    assert run_command(run.path).exit_code == 0


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda model: (model / "config.json").unlink(), "there is no config.json"),
        (lambda model: (model / "model.safetensors").unlink(), "there are no safetensors files"),
        (lambda model: (model / "processor_config.json").unlink(), "there is no processor_config.json or"),
        (
            lambda model: (model / "model.safetensors").write_bytes(
                (model / "model.safetensors").read_bytes()[:-9]
            ),
            "model.safetensors: must be",
        ),
    ],
)
def test_a_model_that_is_not_whole_is_not_exported(new_run, run_command, damage, problem):
    run = new_run().whole()
    damage(run.model)
    assert problem in refused(run_command(run.path))
    assert not (run.path / "hf").exists()


def test_an_export_is_replaced_with_force_only_and_other_folders_never(new_run, run_command, tmp_path):
    run = new_run().whole()
    mine = tmp_path / "mine"
    mine.mkdir()
    assert run_command(run.path, "--output", mine).exit_code == 0  # an empty folder is free
    (mine / "README.md").write_text("old")
    assert "must be new or empty" in refused(run_command(run.path, "--output", mine))
    assert (mine / "README.md").read_text() == "old"
    assert run_command(run.path, "--output", mine, "--force").exit_code == 0
    assert (mine / "README.md").read_text() != "old"
    (mine / "manifest.json").unlink()
    assert "must be an earlier export" in refused(run_command(run.path, "--output", mine, "--force"))
    assert (mine / "model.safetensors").is_file()


@pytest.mark.parametrize("output", [".", "..", "model", "model/deeper", "checkpoints/new"])
def test_an_export_never_goes_among_the_files_of_the_run(new_run, run_command, output):
    run = new_run().whole()
    told = refused(run_command(run.path, "--output", run.path / output, "--force"))
    assert "which the run needs" in told


def test_an_export_that_fails_leaves_nothing_and_an_earlier_one_as_it_was(new_run, monkeypatch):
    run = new_run().whole()
    folder = export_run(run.path).folder
    before = sorted(path.name for path in run.path.iterdir())
    monkeypatch.setattr(shutil, "copyfile", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(ConfigError, match=r"--output: .*: No space left"):
        export_run(run.path, force=True)
    assert sorted(path.name for path in run.path.iterdir()) == before
    manifest.verify(folder)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--to", "gguf"], "--to: must be hf, got 'gguf'"),
        (["--output", "{run}/config.yaml"], "--output: must be a folder"),
        (["--output", "{run}/" + "x" * 300], "--output: "),
    ],
)
def test_what_cannot_be_is_told_in_a_line(new_run, run_command, words, problem):
    run = new_run().whole()
    assert problem in refused(run_command(run.path, *(word.format(run=run.path) for word in words)))


def test_a_folder_that_is_no_runs_is_told_in_a_line(run_command, tmp_path):
    assert "must be the folder of a run, got no such folder" in refused(run_command(tmp_path / "none"))
