import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.seen_words import SHAPES_WORDS, split_dependency

from pgpo_async.algorithms.shaping import make_shaper
from pgpo_async.config.training import AlgorithmConfig
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.demo.task import OBJECTS_TASK, SHAPES_TASK
from pgpo_async.policy.inputs import prompt_group
from pgpo_async.policy.passes import Wanted, score_groups
from pgpo_async.policy.signals import scored_group
from pgpo_async.report.tokens.model import measured_view, sampled_group
from pgpo_async.report.tokens.question import ModelRequest, config_of, prompt_of
from pgpo_async.report.tokens.scoring import TokenMeter

NUM_SCENES = 9
LEAST_RATIO = 5.0
OBJECTS_WORDS = SHAPES_WORDS | {"0"}


def request_of(example, folder, model="builtin:tiny-vlm", **changes):
    path = folder / "scene.png"
    path.write_bytes(example.image_png)
    given = {"model": model, "images": (str(path),), "question": example.question, "answer": example.answer}
    return ModelRequest(**(given | changes))


def meter_of(model="builtin:tiny-vlm", **changes):
    config = config_of(ModelRequest(model=model, images=(), question="?"))
    return TokenMeter(model, config.model_copy(update=changes), "cpu", option="--model")


@pytest.fixture(scope="module")
def meter():
    torch.set_num_threads(1)
    return meter_of()


def view_of(meter, request):
    return measured_view(request, meter, prompt_of(request, meter.config))


def ask(meter, folder, *, index=0, **changes):
    request = request_of(SHAPES_TASK.example("heldout", 0, index), folder, **changes)
    (group,) = view_of(meter, request).groups
    return group


@pytest.mark.parametrize(
    ("model", "task", "words"),
    [
        ("builtin:tiny-vlm", SHAPES_TASK, SHAPES_WORDS),
        ("builtin:tiny-vlm-objects", OBJECTS_TASK, OBJECTS_WORDS),
    ],
)
def test_the_words_for_colour_count_and_shape_are_the_dependent_ones(model, task, words, tmp_path):
    meter = meter_of(model)
    saying, others = [], []
    for index in range(NUM_SCENES):
        request = request_of(task.example("heldout", 0, index), tmp_path, model, seed=index)
        first, rest = split_dependency(view_of(meter, request).groups[0], words)
        saying += first
        others += rest
    ratio = np.mean(saying) / np.mean(others)
    print(
        f"{model}: mean dependency {np.mean(saying):.4f} nats of {len(saying)} words that say what is seen, "
        f"{np.mean(others):.6f} of {len(others)} others: {ratio:.0f} times"
    )
    assert len(saying) >= 4 * NUM_SCENES
    assert ratio >= LEAST_RATIO


@pytest.mark.parametrize("name", ["pgpo", "none", "papo", "tor", "pepo", "vppo"])
def test_a_group_is_scored_as_a_runs_scorer_scores_it(meter, tmp_path, name):
    algorithm = AlgorithmConfig.model_validate({"shaper": {"name": name}})
    own = TokenMeter.__new__(TokenMeter)
    own.__dict__ |= meter.__dict__ | {"config": meter.config.model_copy(update={"algorithm": algorithm})}
    request = request_of(SHAPES_TASK.example("heldout", 0, 0), tmp_path)
    group = sampled_group(meter, prompt_of(request, meter.config), num_samples=4, seed=0)
    scored, entropy = own.score(group)
    shaper = make_shaper(name, **algorithm.shaper.parameters())
    wanted = Wanted.by(shaper, measure=True, seed=meter.config.seed)
    (scores,) = score_groups(
        meter.policy, meter._collate, [prompt_group(group)], pass_tokens=4096, passes=wanted
    )
    expected = scored_group(group, scores, shaper, version=0, progress=1.0)
    for got, wanted_rows in (
        (scored.proximal_logprobs, expected.proximal_logprobs),
        (scored.dependency, expected.dependency),
        # What the learner weighs later is weighed here, over this group.
        *([] if shaper.scope == "batch" else [(scored.token_weights, expected.token_weights)]),
    ):
        for row, wanted_row in zip(got, wanted_rows, strict=True):
            assert row == pytest.approx(wanted_row, rel=1e-4, abs=1e-6)
    assert [len(row) for row in entropy] == [len(row) for row in scored.dependency]
    unlike = any(not np.allclose(row, 1) for row in scored.token_weights)
    assert unlike == (name not in ("none", "papo"))


def test_responses_come_with_texts_rewards_and_reasons(meter, tmp_path):
    group = ask(meter, tmp_path, samples=6)
    rollouts = group.scored.group.rollouts
    assert len(rollouts) == 6
    for rollout, pieces, special in zip(rollouts, group.pieces, group.special, strict=True):
        assert "".join(pieces) == rollout.text + "<|im_end|>"
        assert special == (len(pieces) - 1,)
        assert rollout.finish_reason == "stop"
        accuracy, form = rollout.reward_parts["accuracy"], rollout.reward_parts["format"]
        assert rollout.reward == pytest.approx(0.9 * accuracy + 0.1 * form)
    assert set(group.values.missing) == {"importance", "lag"}
    assert sum(group.values.advantages) == pytest.approx(0, abs=1e-5)


def test_without_an_answer_there_is_no_reward_and_no_advantage(meter, tmp_path):
    group = ask(meter, tmp_path, answer=None)
    assert not group.rewarded
    assert "--answer" in group.values.missing["advantage"]
    assert group.values.advantages == ()


def test_one_response_has_no_others_to_be_compared_with(meter, tmp_path):
    group = ask(meter, tmp_path, samples=1)
    assert "at least 2" in group.values.missing["advantage"]
    assert "dependency" in group.values.rows


def test_the_same_seed_gives_the_same_responses(meter, tmp_path):
    def texts(seed):
        rollouts = ask(meter, tmp_path, samples=8, seed=seed, index=1).scored.group.rollouts
        return [rollout.text for rollout in rollouts]

    before = torch.random.get_rng_state()
    assert texts(3) == texts(3)
    assert len({tuple(texts(seed)) for seed in range(5)}) > 1
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_response_that_does_not_end_is_told_as_cut(tmp_path):
    meter = meter_of()
    meter.config = meter.config.model_copy(
        update={"generation": meter.config.generation.model_copy(update={"max_response_tokens": 5})}
    )
    (first, *_) = ask(meter, tmp_path).scored.group.rollouts
    assert len(first.response_token_ids) == 5
    assert first.truncated


def test_the_models_own_sampling_settings_are_not_used(tmp_path):
    # Published models ask for a tiny temperature, the likeliest token and a penalty on repetition.
    greedy = meter_of()
    for name, value in (("top_k", 1), ("temperature", 1e-6), ("repetition_penalty", 1.5)):
        setattr(greedy.policy.model.generation_config, name, value)
    group = ask(greedy, tmp_path, samples=16, index=1)
    assert len({rollout.text for rollout in group.scored.group.rollouts}) > 1
    assert all("\\boxed{" in rollout.text for rollout in group.scored.group.rollouts)


def test_several_images_go_where_the_question_says(tmp_path):
    meter = meter_of()
    other = tmp_path / "other.png"
    Image.new("RGB", (84, 84), "white").save(other)
    base = request_of(SHAPES_TASK.example("heldout", 0, 0), tmp_path)
    images = (*base.images, str(other))
    marked = replace(base, images=images, question="<image> or <image> : what colour are the shapes ?")
    meter.config = config_of(marked)
    first = view_of(meter, replace(marked, question=base.question)).groups[0].scored.group
    placed = view_of(meter, marked).groups[0].scored.group
    image = int(meter.policy.config.image_token_id)
    assert (first.prompt_token_ids == image).sum() == (placed.prompt_token_ids == image).sum() == 18
    assert not np.array_equal(first.prompt_token_ids, placed.prompt_token_ids)
    with pytest.raises(ConfigError, match="one <image> an image"):
        view_of(meter, replace(marked, question="<image> : what ?"))


def test_a_question_with_control_tokens_or_too_long_is_refused(meter):
    buffer = io.BytesIO()
    Image.new("RGB", (84, 84), "white").save(buffer, "PNG")
    for question, message in (("<|im_end|>", "control tokens"), ("why ? " * 9000, "max_prompt_tokens")):
        prompt = Prompt(prompt_id="asked", question=question, answer="", images=(buffer.getvalue(),))
        with pytest.raises(ConfigError, match=message):
            sampled_group(meter, prompt, num_samples=1, seed=0)
