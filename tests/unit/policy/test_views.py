"""What a pass shows of the images: nothing, or some of their cells; the same ones for the same seed."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pgpo_async.algorithms.shaping import ImageMasking
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.masks import black_pixels, mask_name
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.passes import GroupScores, Wanted, score_groups

VPPO = ImageMasking(probability=0.5, resized=True, per_response=True)
PAPO = ImageMasking(probability=0.6, resized=False, per_response=False)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def model(
    request: pytest.FixtureRequest, make_model_folder: Callable[..., Path], reference: Any
) -> tuple[PolicyModel, Collator, Any]:
    folder = make_model_folder(request.param)
    policy = load_policy(str(folder), dtype="float32")
    return policy, Collator(load_processor(str(folder)), policy.config), reference(folder)


@pytest.fixture(scope="module")
def groups(make_group: Callable[..., PromptGroup], make_image: Any, processor: Any) -> list[PromptGroup]:
    """Images between their markers, sizes that the processor does not change; one prompt without."""

    def with_markers(group: PromptGroup) -> PromptGroup:
        token_id = processor.tokenizer.convert_tokens_to_ids
        image, start, end = map(token_id, ("<|image_pad|>", "<|vision_start|>", "<|vision_end|>"))
        ids, is_image = group.prompt_token_ids, group.prompt_token_ids == image
        out: list[int] = []
        for i, token in enumerate(ids):
            out += [start] if is_image[i] and (i == 0 or not is_image[i - 1]) else []
            out += [int(token)]
            out += [end] if is_image[i] and not is_image[i + 1] else []
        return replace(group, prompt_token_ids=np.array(out, np.int32))

    small, wide = make_image(1), make_image(2, 140, 84)
    made = [
        make_group([5, small, 7], [9, 4, 0, 1], seed=1),
        make_group([6], [5, 3], seed=2),
        make_group([2, small, 3, wide, 4], [6, 6], seed=3),
    ]
    return [replace(with_markers(group), key=f"prompt {i}") for i, group in enumerate(made)]


def score(model: tuple[PolicyModel, Collator, Any], groups: list[PromptGroup], **wanted: Any) -> Any:
    return score_groups(model[0], model[1], groups, pass_tokens=1 << 20, passes=Wanted(**wanted))


def assert_equal(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    pairs = list(zip([row for rows in ours for row in rows], theirs, strict=True))
    assert sum(len(row) for row, _ in pairs) > 20
    for mine, other in pairs:
        np.testing.assert_allclose(mine, np.asarray(other), rtol=tolerance, atol=tolerance)


def masked_image(data: bytes, masking: ImageMasking, name: str) -> bytes:
    """Cell by cell, as the papers say it."""
    pixels = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    black = black_pixels(masking, name, *pixels.shape[:2])
    for row in range(0, pixels.shape[0], masking.cell_px):
        for column in range(0, pixels.shape[1], masking.cell_px):
            if black[row, column]:
                pixels[row : row + masking.cell_px, column : column + masking.cell_px] = (0, 0, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_without_the_image_the_prompt_is_what_its_text_alone_would_have_been(
    model: tuple[PolicyModel, Collator, Any], groups: list[PromptGroup], processor: Any
) -> None:
    vision = processor.tokenizer.convert_tokens_to_ids(
        ["<|image_pad|>", "<|vision_start|>", "<|vision_end|>"]
    )
    text_only = [
        replace(
            group,
            prompt_token_ids=group.prompt_token_ids[~np.isin(group.prompt_token_ids, vision)],
            images=(),
        )
        for group in groups
    ]
    with torch.inference_mode():
        expected = model[2](text_only)
    scores = score(model, groups, no_image=True)
    assert_equal((s.no_image for s in scores), expected)
    assert all(a is b for a, b in zip(scores[1].no_image, scores[1].sighted, strict=True))


@pytest.mark.parametrize("masking", [VPPO, PAPO], ids=["a mask a response", "a mask a prompt"])
def test_a_masked_pass_equals_transformers_on_the_blackened_pictures(
    model: tuple[PolicyModel, Collator, Any], groups: list[PromptGroup], masking: ImageMasking
) -> None:
    expected: list[Any] = []
    for group in groups:
        for number, response in enumerate(group.responses):
            names = [
                mask_name(7, group.key, number if masking.per_response else None, k)
                for k in range(len(group.images))
            ]
            images = tuple(
                masked_image(data, masking, name) for data, name in zip(group.images, names, strict=True)
            )
            with torch.inference_mode():
                expected += model[2]([replace(group, responses=(response,), numbers=None, images=images)])
    scores = score(model, groups, masking=masking, seed=7)
    assert_equal((s.masked for s in scores), expected)
    assert np.abs(scores[0].masked[0] - scores[0].sighted[0]).max() > 1e-2


@pytest.mark.parametrize("masking", [VPPO, PAPO], ids=["a mask a response", "a mask a prompt"])
def test_masks_depend_on_seed_prompt_and_response_only(
    policy: PolicyModel, collator: Collator, groups: list[PromptGroup], masking: ImageMasking
) -> None:
    def masked(groups: list[PromptGroup], seed: int, pass_tokens: int = 1 << 20) -> list[GroupScores]:
        wanted = Wanted(masking=masking, seed=seed)
        return score_groups(policy, collator, groups, pass_tokens=pass_tokens, passes=wanted)

    def rows(scores: GroupScores) -> np.ndarray[Any, Any]:
        assert scores.masked is not None
        return np.concatenate(scores.masked)

    first = masked(groups, seed=1)
    split = masked([groups[2], groups[0].select([1, 0])], seed=1, pass_tokens=1)
    np.testing.assert_allclose(rows(split[0]), rows(first[2]), rtol=1e-5, atol=1e-5)
    assert first[0].masked is not None
    assert split[1].masked is not None
    for mine, other in ((1, 0), (0, 1)):
        np.testing.assert_allclose(split[1].masked[mine], first[0].masked[other], rtol=1e-5, atol=1e-5)
    assert np.abs(rows(masked(groups, seed=2)[0]) - rows(first[0])).max() > 1e-3
    renamed = [replace(groups[0], key="the same prompt, an epoch later")]
    assert np.abs(rows(masked(renamed, seed=1)[0]) - rows(first[0])).max() > 1e-3
    # The same tokens twice: only a mask of one's own makes them differ.
    twins = replace(groups[0], responses=(groups[0].responses[0],) * 2, numbers=None)
    [scores] = masked([twins], seed=1)
    assert scores.masked is not None
    apart = np.abs(scores.masked[0] - scores.masked[1]).max()
    assert apart > 1e-3 if masking.per_response else apart < 1e-5


def test_a_mask_blackens_whole_cells_with_its_probability() -> None:
    masking = ImageMasking(probability=0.3, cell_px=14)
    black = black_pixels(masking, "a name", 1400, 1393)
    cells = black[::14, ::14]
    assert abs(cells.mean() - 0.3) < 0.02
    assert (black == cells.repeat(14, 0).repeat(14, 1)[:1400, :1393]).all()
    assert (black_pixels(masking, "a name", 1400, 1393) == black).all()
    assert (black_pixels(masking, "another", 1400, 1393) != black).any()
    assert not black_pixels(replace(masking, probability=0.0), "a name", 50, 50).any()
    assert black_pixels(replace(masking, probability=1.0), "a name", 50, 50).all()


def test_a_masked_view_without_a_masking_is_refused(collator: Collator, groups: list[PromptGroup]) -> None:
    with pytest.raises(ValueError, match="masking must be given for the view 'masked', got None"):
        collator(groups, view="masked")
