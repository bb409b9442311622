import json
import re
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, ScoredGroup, VersionSpan, encode
from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.policy.loading import load_processor
from pgpo_async.report.tokens import samples as token_samples
from pgpo_async.report.tokens.command import tokens
from pgpo_async.report.tokens.samples import read_samples

app = typer.Typer()
app.command()(tokens)


@pytest.fixture(scope="module")
def tokenizer():
    return load_processor("builtin:tiny-vlm").tokenizer


@pytest.fixture
def make_run(tmp_path, tokenizer):
    """make_run({step: group ids}): a run's folder with a sampled group of two text-only responses each."""

    def group(name):
        ids = tokenizer.encode("<think> red </think> \\boxed{red}", add_special_tokens=False)
        length = len(ids)
        rollout = Rollout(
            response_token_ids=np.asarray(ids, np.int32),
            behaviour_logprobs=np.full(length, -0.5, np.float32),
            version_spans=(VersionSpan(version=2, start=0, end=length),),
            finish_reason="stop",
            text=tokenizer.decode(ids),
            reward=1.0,
            reward_parts={"accuracy": 1.0},
        )
        return ScoredGroup.unscored(
            RolloutGroup(
                group_id=name,
                prompt=Prompt(prompt_id=name, question="what colour?", answer="red"),
                prompt_token_ids=np.asarray(tokenizer.encode("what colour?"), np.int32),
                rollouts=(rollout, replace(rollout, reward=0.1, reward_parts={"accuracy": 0.0})),
            )
        )

    def make(groups, *, config="model: {path: 'builtin:tiny-vlm', dtype: float32}\n", metrics=""):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "config.yaml").write_text(config)
        (folder / "metrics.jsonl").write_text(metrics)
        for step, names in groups.items():
            home = folder / "samples" / f"step-{step:08d}"
            home.mkdir(parents=True)
            for name in names:
                (home / f"{name}.arrow").write_bytes(encode(group(name)))
        return folder

    return make


def shown(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def data_of(path):
    page = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="token-data">(.*?)</script>', page)[1])


def test_a_run_becomes_a_page_in_its_folder(make_run):
    folder = make_run({3: ["a"], 9: ["b", "c"]}, metrics='{"step": 9, "version": 6}\n{"step": 10, "vers')
    done = shown(folder, "--no-entropy")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{folder / 'tokens.html'}: 3 groups, 6 responses, ")
    data = data_of(folder / "tokens.html")
    assert [(group["step"], group["name"]) for group in data["groups"]] == [(3, "a"), (9, "b"), (9, "c")]
    first = data["groups"][0]["responses"][0]
    assert "".join(first["pieces"]) == "<think> red </think> \\boxed{red}"
    # The step's own version less one where metrics.jsonl tells it, else the step less one.
    assert [set(group["responses"][0]["values"]["lag"]) for group in data["groups"]] == [{0}, {3}, {3}]
    assert "--no-entropy" in data["groups"][0]["missing"]["entropy"]


def test_entropy_is_measured_with_the_runs_trained_model(make_run):
    folder = make_run({1: ["a"]})
    (folder / "model").symlink_to(tiny_vlm_path())
    done = shown(folder, "--device", "cpu", "--output", folder / "page.html")
    assert done.exit_code == 0, done.stderr
    entropy = data_of(folder / "page.html")["groups"][0]["responses"][0]["values"]["entropy"]
    assert all(value >= 0 for value in entropy)
    assert max(entropy) > 0.1
    assert "final weights" in (folder / "page.html").read_text()


def test_without_a_trained_model_only_entropy_is_missing(make_run):
    folder = make_run({1: ["a"]})
    assert shown(folder).exit_code == 0
    assert "no trained model yet" in data_of(folder / "tokens.html")["groups"][0]["missing"]["entropy"]


def test_a_step_or_a_group_is_shown_alone(make_run):
    folder = make_run({1: ["a"], 2: ["a", "b"]})

    def found(**wanted):
        return [(s.step, s.scored.group.group_id) for s in read_samples(folder, **wanted).groups]

    assert found(step=2) == [(2, "a"), (2, "b")]
    assert found(group="a") == [(1, "a"), (2, "a")]
    assert found(step=2, group="b") == [(2, "b")]


def test_a_large_run_shows_its_newest_and_first_steps_and_tells_of_the_rest(make_run, monkeypatch):
    folder = make_run({step: [f"g{step}"] for step in range(1, 6)})
    size = token_samples._page_bytes(read_samples(folder).groups[0])
    monkeypatch.setattr(token_samples, "MAX_PAGE_BYTES", 3 * size)
    samples = read_samples(folder)
    assert [sample.step for sample in samples.groups] == [1, 4, 5]
    assert any("2 more sampled groups" in note for note in samples.notes)
    monkeypatch.setattr(token_samples, "MAX_PAGE_BYTES", 1)
    assert [sample.step for sample in read_samples(folder).groups] == [5]


def test_a_torn_sample_is_told_of_and_the_others_are_shown(make_run):
    folder = make_run({1: ["a", "b"]})
    torn = folder / "samples" / "step-00000001" / "a.arrow"
    torn.write_bytes(torn.read_bytes()[:200])
    (folder / "samples" / "notes").mkdir()
    samples = read_samples(folder)
    assert [sample.scored.group.group_id for sample in samples.groups] == ["b"]
    assert "step-00000001/a.arrow" in samples.notes[0]


def test_a_config_of_another_version_gives_the_model_at_least(make_run):
    folder = make_run({1: ["a"]}, config="model: {path: 'builtin:tiny-vlm'}\nold_section: {x: 1}\n")
    assert shown(folder).exit_code == 0
    page = (folder / "tokens.html").read_text()
    assert "old_section" in page
    assert "".join(data_of(folder / "tokens.html")["groups"][0]["responses"][0]["pieces"]).startswith(
        "<think>"
    )


def test_another_tokenizer_than_the_runs_is_told_of(make_run):
    folder = make_run({1: ["a"]}, config="model: {path: 'builtin:tiny-vlm-objects'}\n")
    assert shown(folder).exit_code == 0
    assert "another tokenizer" in (folder / "tokens.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "RUN or --model must be given"),
        (["RUN", "--model", "builtin:tiny-vlm"], "RUN and --model must not be given together"),
        (["RUN", "--question", "why?", "--samples", "2"], "--question, --samples: must come with --model"),
        (["RUN", "--step", "8"], "--step must be a step that was sampled, got 8: the nearest are 3, 9"),
        (["RUN", "--group", "beta"], "--group must be a sampled group, got 'beta': the nearest are beta2"),
        (
            ["RUN", "--step", "3", "--group", "beta2"],
            "--group must be a sampled group of step 3, got 'beta2'",
        ),
        (["RUN", "--output", "RUN"], "--output must be a file, got the folder"),
        (["RUN", "--output", "nowhere/page.html"], "--output: the folder nowhere must exist"),
        (["RUN", "--measure-with", "builtin:tiny"], "--measure-with must be one of"),
        (["nowhere"], "nowhere: must be the folder of a run"),
        (["--model", "builtin:tiny-vlm"], "--image and --question must be given with --model"),
        (["--model", "m", "--image", "i", "--question", "q", "--step", "1"], "--step: must come with a RUN"),
        (
            ["--model", "m", "--image", "i", "--question", "q", "--device", "tpu"],
            "--model must be an existing",
        ),
        (["--model", "builtin:tiny-vlm", "--image", "none.png", "--question", "q"], "--image none.png: "),
        (["--model", "builtin:tiny-vlm", "--image", "TEXT", "--question", "q"], "must be decodable"),
        (["--model", "builtin:tiny-vlm", "--image", "TEXT", "--question", " "], "--question must be a text"),
        (["--model", "m/n", "--image", "TEXT", "--question", "q", "--answer", ""], "--answer must be a text"),
        (
            ["--model", "builtin:tiny-vlm", "--image", "TEXT", "--question", "q", "--config", "c.yaml"],
            "c.yaml: ",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_2(make_run, arguments, line):
    folder = make_run({3: ["alpha"], 9: ["beta2"]})
    (folder / "text.png").write_text("no image")
    places = {"RUN": str(folder), "TEXT": str(folder / "text.png")}
    done = shown(*(places.get(argument, argument) for argument in arguments))
    assert done.exit_code == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_run_without_samples_is_refused(make_run):
    folder = make_run({})
    done = shown(folder)
    assert done.exit_code == 2
    assert "metrics.samples_every" in done.stderr


def test_a_run_whose_samples_are_all_damaged_is_refused(make_run):
    folder = make_run({1: ["a"]})
    (folder / "samples" / "step-00000001" / "a.arrow").write_bytes(b"damaged")
    done = shown(folder)
    assert done.exit_code == 2
    assert "step-00000001/a.arrow" in done.stderr
