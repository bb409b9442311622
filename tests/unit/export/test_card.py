"""The card tells what a reader needs, only what is true of these weights, and nothing that is secret."""

import re
from collections.abc import Mapping

import pytest
import yaml
from support.card_programs import card_programs

from pgpo_async.config import load_config
from pgpo_async.config.masking import MASK
from pgpo_async.contracts import Prompt
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.export import base_model as base_model_room
from pgpo_async.export.base_model import base_model, front_matter
from pgpo_async.export.command import export_run
from pgpo_async.export.published import published
from pgpo_async.export.results import interval, num_averaged
from pgpo_async.policy.loading import load_processor

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"
QWEN_CARD = """---
license: other
license_name: qwen-research
tags: [chat]
---
# Qwen
"""


def card_of(run, **options):
    return (export_run(run.path, **options).folder / "README.md").read_text()


def rows_of(card) -> Mapping[str, str]:
    return {
        line.split(" | ")[0][2:]: line.split(" | ")[1][:-2] for line in card.splitlines() if line[:1] == "|"
    }


def test_the_front_matter_is_yaml_that_names_task_library_and_method(new_run):
    card = card_of(new_run().whole())
    values = yaml.safe_load(card.split("---\n")[1])
    assert values == front_matter(card)
    assert (values["library_name"], values["pipeline_tag"]) == ("transformers", "image-text-to-text")
    assert "pgpo" in values["tags"]
    # The Hub refuses a card whose base model it does not have.
    assert "base_model" not in values


def test_recipe_results_versions_and_origin_are_told(new_run):
    run = new_run().configured(algorithm={"shaper": {"name": "pgpo", "params": {"tau": 0.3}}}).whole()
    card, rows = card_of(run), rows_of(card_of(run, force=True))
    assert "752,576 parameters in F32" in card
    assert (rows["its tau"], rows["its beta"]) == ("0.3", "2")
    assert (rows["steps"], rows["prompts a step"], rows["seed"]) == ("12", "4", "0")
    assert (rows["training data"], rows["run"]) == ("builtin:shapes", "made-1")
    assert (rows["pgpo-async"], rows["torch"]) == ("0.0.7", "2.0.1")
    assert rows["held-out accuracy before training"].startswith("0.250 (95 % interval within 0.15")
    assert "| reward of all responses generated | 0.3 | 1 |" in card


def test_intervals_are_exact_where_the_run_tells_the_standard_error(new_run):
    run = new_run().configured().trained().with_model()
    run.summed_up(accuracy_after=0.875, accuracy_after_standard_error=0.02)
    assert "0.875 (95 % interval 0.836 to 0.914; 50 prompts, 4 answers each)" in card_of(run)


def test_without_a_standard_error_the_interval_is_no_narrower_than_any_spread_of_answers_makes_it():
    for num_prompts in (10, 200):
        for right in (0, 1, num_prompts // 2, num_prompts):
            mean = right / num_prompts
            low, high = interval(mean, standard_error=None, num_prompts=num_prompts)
            assert 0.0 <= low <= mean <= high <= 1.0
            assert high - low > 0.01
    # Wilson, worked by hand for 5 of 10.
    assert interval(0.5, standard_error=None, num_prompts=10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_no_step_is_at_both_ends_of_a_curve():
    assert [num_averaged(num) for num in (1, 2, 3, 9, 10, 100)] == [1, 1, 1, 4, 5, 5]


def test_a_checkpoints_card_tells_nothing_of_what_came_after_it(new_run):
    run = new_run().whole()
    run.checkpointed(8)
    card = card_of(run, checkpoint="step-00000008")
    rows = rows_of(card)
    assert rows["steps"] == "8 of 12 planned"
    assert "held-out accuracy after training" not in card
    assert "0.875" not in card
    assert rows["accuracy of the responses generated before this checkpoint"] == "0.625"
    assert "| reward of all responses generated | 0.25 | 0.65 |" in card


def test_what_an_interrupted_run_did_not_measure_is_called_so(new_run):
    run = new_run().configured().trained(5).summed_up(status="interrupted", accuracy_after=None).with_model()
    rows = rows_of(card_of(run))
    assert rows["held-out accuracy after training"] == "not measured"
    assert (rows["steps"], rows["its state"]) == ("5 of 12 planned", "interrupted")


def test_a_run_whose_config_cannot_be_read_is_exported_and_nothing_is_made_up(new_run):
    run = new_run().whole()
    (run.path / "config.yaml").write_text("[torn")
    exported = export_run(run.path)
    card = (exported.folder / "README.md").read_text()
    assert [line.split(":")[0] for line in exported.untold] == ["config.yaml could not be understood"]
    assert "a model that the run's config does not name" in card
    assert "a method that its config does not name" in card
    assert not re.search("grpo|none|x accuracy|longest", card, re.IGNORECASE)


def test_no_secret_and_no_place_of_a_file_comes_into_a_card(new_run):
    run = new_run().whole()
    run.configured(
        data={"source": "/home/someone/data/train.parquet", "instruction": f"Use {TOKEN} | now"},
        evaluation={"source": "/home/someone/data/https://me:pass@host/test.parquet"},
        reward={"function": "/home/someone/rewards.py:score"},
    )
    card = card_of(run)
    assert "train.parquet" in card
    assert "rewards.py:score" in card
    assert MASK in card
    assert not re.search(rf"/home/someone|{TOKEN}|me:pass|{re.escape(str(run.path.parent))}", card)


def test_nested_values_are_published_without_secrets_and_places():
    told = published([{"path": "/home/someone/a.parquet", "api_key": "xyz"}, f"https://me:{TOKEN}@host/b"])
    assert "a.parquet" in told
    assert not re.search(rf"someone|xyz|{TOKEN}", told)


@pytest.mark.parametrize("system_prompt", ["", "Say \"yes\", or 'no'."])
def test_the_program_for_transformers_runs_as_it_stands_and_asks_as_in_training(
    new_run, monkeypatch, system_prompt
):
    run = new_run().configured(data={"system_prompt": system_prompt}).whole()
    folder = export_run(run.path).folder
    programs = card_programs(folder)
    compile(programs["vllm"], "vllm", "exec")
    monkeypatch.chdir(folder)
    names = {}
    exec(programs["transformers"], names)
    config = load_config(run.path / "config.yaml")
    encoder = ChatEncoder(load_processor(str(folder)), config.data, config.model)
    asked = Prompt(prompt_id="p", question=names["question"], answer="", images=(b"image",))
    assert names["prompt"] == encoder.chat_text(asked)
    assert isinstance(names["answer"], str)


def test_a_local_base_models_licence_is_taken_over_and_its_place_is_not_told(tmp_path):
    folder = tmp_path / "Qwen-copy"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text(QWEN_CARD)
    base = base_model(str(folder))
    assert (base.name, base.hub_name) == ("Qwen-copy", None)
    assert base.licence == {"license": "other", "license_name": "qwen-research"}


def test_a_hub_models_name_and_cached_licence_come_into_the_front_matter(new_run, tmp_path, monkeypatch):
    cached = tmp_path / "README.md"
    cached.write_text(QWEN_CARD)
    asked = []
    monkeypatch.setattr(base_model_room, "_cached_card", lambda name: asked.append(name) or cached)
    run = new_run().whole().configured(model={"path": "Qwen/Qwen2.5-VL-3B-Instruct"})
    values = front_matter(card_of(run))
    assert values["base_model"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert (values["license"], values["license_name"]) == ("other", "qwen-research")
    assert asked == ["Qwen/Qwen2.5-VL-3B-Instruct"]


def test_a_hub_model_that_is_not_in_the_cache_states_no_licence():
    base = base_model("nobody/no-such-model")
    assert (base.hub_name, base.licence) == ("nobody/no-such-model", {})


@pytest.mark.parametrize("text", ["", "# no front matter", "---\n[broken\n---\n", "---\njust text\n---\n"])
def test_a_card_without_a_readable_front_matter_states_nothing(text):
    assert front_matter(text) == {}
