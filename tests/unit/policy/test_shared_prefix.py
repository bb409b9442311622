"""The prompt once for all responses, all in one row: the same log-probs and gradients as one by one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgpo_async.policy.inputs import Collator, PolicyInputs, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.logprobs import TokenScores
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.packing import GroupSize, pack

Gradients = dict[str, torch.Tensor]
Result = tuple[torch.Tensor, Gradients]


def weights(start: int, end: int) -> torch.Tensor:
    """Each response token its own weight in the loss."""
    return torch.sin(torch.arange(start, end)) + 0.3


def step(policy: PolicyModel, batches: Sequence[PolicyInputs]) -> Result:
    """Forward and backward over batches."""
    policy.train().zero_grad()
    logprobs: list[torch.Tensor] = []
    done = 0
    for inputs in batches:
        scores_N = policy(inputs).logprobs
        (scores_N * weights(done, done + len(scores_N))).sum().backward()
        done += len(scores_N)
        logprobs.append(scores_N.detach())
    return torch.cat(logprobs), gradients(policy.model)


def gradients(model: Any) -> Gradients:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_equal(ours: Result, theirs: Result) -> None:
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    difference = sum(float((grad - theirs[1][name]).norm()) ** 2 for name, grad in ours[1].items())
    size = sum(float(grad.norm()) ** 2 for grad in theirs[1].values())
    assert difference <= 1e-10 * size, "the whole gradient, relative"
    for name, grad in ours[1].items():
        one = float((grad - theirs[1][name]).norm())
        assert one <= 1e-5 * max(float(theirs[1][name].norm()), 1e-2 * size**0.5), name


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def setting(
    request: pytest.FixtureRequest, make_model_folder: Callable[..., Path], reference: Any
) -> tuple[PolicyModel, Collator, Any]:
    folder = make_model_folder(request.param)
    policy = load_policy(str(folder), dtype="float32")
    return policy, Collator(load_processor(str(folder)), policy.config), reference(folder)


PARTS = st.lists(st.one_of(st.integers(1, 9), st.sampled_from(["small", "wide"])), min_size=0, max_size=4)


@given(data=st.data())
@settings(
    max_examples=25,
    derandomize=True,  # the tolerance is near float32's own: new examples are for a person to look at
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_groups_under_any_budget_equal_transformers_one_rollout_at_a_time(
    data: st.DataObject,
    setting: tuple[PolicyModel, Collator, Any],
    make_group: Callable[..., PromptGroup],
    make_image: Callable[..., bytes],
) -> None:
    policy, collator, reference = setting
    images = {"small": make_image(1, 56, 56), "wide": make_image(2, 140, 84)}
    shapes = data.draw(
        st.lists(
            st.tuples(PARTS, st.lists(st.integers(0, 12), min_size=1, max_size=5)), min_size=1, max_size=4
        )
    )
    groups = []
    for i, (parts, responses) in enumerate(shapes):
        # Two images in a row would be one run of placeholders: text between them, and at the end.
        spaced = [item for part in parts for item in (images.get(part, part), 1)]
        groups.append(make_group([*spaced, 1], responses, seed=i))
    budget = data.draw(st.integers(1, 200))
    sizes = [GroupSize(prompt=collator.num_prompt_tokens(g), responses=g.response_lengths) for g in groups]
    plan = pack(sizes, budget)
    reordered = [groups[part.group].select(part.responses) for parts in plan for part in parts]
    sequences = [
        group.select([i]) for group in reordered for i in range(len(group.responses))
    ]  # the order of the packed log-probs
    batches = [collator([groups[p.group].select(p.responses) for p in parts]) for parts in plan]
    ours = step(policy, batches)
    reference.model.zero_grad()
    theirs, done = [], 0
    for sequence in sequences:
        (logprobs_T,) = reference([sequence])
        (logprobs_T * weights(done, done + len(logprobs_T))).sum().backward()
        done += len(logprobs_T)
        theirs.append(logprobs_T.detach())
    expected = gradients(reference.model)
    # A text-only batch never calls the tower, a reference without response tokens no layer.
    assert set(expected) <= set(ours[1]) or not any(len(t) for t in theirs)
    for name in set(ours[1]) - set(expected):
        assert not ours[1].pop(name).any()
    if done:
        assert_equal(ours, (torch.cat(theirs), expected))


@pytest.mark.parametrize("kernel", ["flash", "math"])
def test_every_kernel_gives_the_same(
    kernel: Any, policy: PolicyModel, collator: Collator, mixed_groups: list[PromptGroup]
) -> None:
    one_by_one = [collator([g.select([i])]) for g in mixed_groups for i in range(len(g.responses))]
    expected = step(policy, one_by_one)
    policy.attention = kernel
    assert_equal(step(policy, [collator(mixed_groups)]), expected)


def test_the_prompt_and_its_image_are_computed_once(
    collator: Collator, make_image: Callable[..., bytes], make_group: Callable[..., PromptGroup]
) -> None:
    image = make_image(1)
    inputs = collator([make_group([4, image, 3], [6] * 8), make_group([2, image, 1], [5, 0, 1], seed=2)])
    assert inputs.num_tokens == (4 + 9 + 3) + (2 + 9 + 1) + 8 * 5 + 4
    assert inputs.image_grids is not None
    assert inputs.image_grids.tolist() == [[1, 6, 6]]
    assert len(inputs.image_rows) == 2 * 9
    assert inputs.lengths == (6,) * 8 + (5, 0, 1)


def test_a_dummy_image_changes_no_result_and_gives_the_tower_zero_gradients(
    make_group: Callable[..., PromptGroup], setting: tuple[PolicyModel, Collator, Any]
) -> None:
    policy, collator, _ = setting
    groups = [make_group([7], [5, 4], seed=1), make_group([3], [2], seed=2)]
    without, with_dummy = (step(policy, [collator(groups, dummy_image=flag)]) for flag in (False, True))
    tower = [name for name in with_dummy[1] if "visual" in name]
    assert len(tower) > 20
    assert all(not with_dummy[1].pop(name).any() for name in tower)
    assert_equal(with_dummy, without)


def test_a_batch_without_response_tokens_gives_every_weight_a_zero_gradient(
    collator: Collator, make_group: Callable[..., PromptGroup], policy: PolicyModel
) -> None:
    inputs = collator([make_group([4], [0]), make_group([2], [0, 0])], dummy_image=True)
    logprobs_N, found = step(policy, [inputs])
    assert logprobs_N.shape == (0,)
    assert {f"model.{name}" for name in found} == {f"model.{name}" for name in policy.state_names}
    assert not any(gradient.any() for gradient in found.values())


def test_activation_checkpointing_changes_neither_log_probs_nor_gradients(
    setting: tuple[PolicyModel, Collator, Any], mixed_groups: list[PromptGroup]
) -> None:
    policy, collator, _ = setting
    inputs = collator(mixed_groups)
    plain = step(policy, [inputs])
    policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        assert_equal(step(policy, [inputs]), plain)
    finally:
        policy.model.gradient_checkpointing_disable()


def test_two_batches_in_turns_do_not_mix_up_borders(
    policy: PolicyModel, collator: Collator, mixed_groups: list[PromptGroup]
) -> None:
    first, second = collator(mixed_groups[:3]), collator(mixed_groups[3:])
    expected = [policy(first).logprobs.detach(), policy(second).logprobs.detach()]
    outputs: list[TokenScores] = [policy(first), policy(second)]  # both graphs alive
    outputs[1].logprobs.sum().backward()
    outputs[0].logprobs.sum().backward()
    for got, want in zip(outputs, expected, strict=True):
        torch.testing.assert_close(got.logprobs.detach(), want)


def test_stock_sdpa_with_its_causal_mask_still_serves_a_plain_forward(
    policy: PolicyModel, reference: Any, model_folder: Path, make_group: Callable[..., PromptGroup]
) -> None:
    ids = torch.from_numpy(make_group([12], []).prompt_token_ids.astype(np.int64))[None]
    with torch.inference_mode():
        ours = policy.model(input_ids=ids, use_cache=False).logits
        theirs = reference(model_folder).model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
