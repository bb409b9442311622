"""What the collator refuses, and what it derives without the model."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pgpo_async.contracts import Prompt, Rollout, RolloutGroup, VersionSpan
from pgpo_async.policy import images
from pgpo_async.policy.images import ImageReader, image_grid, preprocess
from pgpo_async.policy.inputs import Collator, PromptGroup, prompt_group
from pgpo_async.policy.loading import load_processor
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.positions import next_position, rotary_positions


def test_rotary_positions_are_those_of_transformers(
    policy: PolicyModel, processor: Any, mixed_groups: list[PromptGroup]
) -> None:
    for group in mixed_groups:
        ids = torch.from_numpy(group.prompt_token_ids.astype(np.int64))[None]
        is_image = ids == policy.config.image_token_id
        grids = [image_grid(processor.image_processor, data) for data in group.images]
        expected, delta = policy.model.model.get_rope_index(
            ids, mm_token_type_ids=is_image.int(), image_grid_thw=torch.tensor(grids) if grids else None
        )
        positions = rotary_positions(is_image[0].numpy(), grids, merge=2)
        assert np.array_equal(positions, expected[:, 0].numpy())
        assert next_position(positions) == ids.shape[1] + int(delta)


@pytest.mark.parametrize("size", [(84, 84), (30, 200), (500, 301), (56, 56), (61, 97)])
@pytest.mark.parametrize("limits", [(None, None), (28 * 28, 90 * 90)])
def test_the_grid_from_the_header_is_the_one_the_processor_makes(
    size: tuple[int, int], limits: tuple[Any, Any], model_folder: Path, make_image: Callable[..., bytes]
) -> None:
    processor = load_processor(str(model_folder), min_pixels=limits[0], max_pixels=limits[1]).image_processor
    image = make_image(0, *size)
    batch = preprocess(processor, [image])
    assert [list(image_grid(processor, image))] == batch.grids.tolist()
    assert len(batch.pixel_values) == int(batch.grids.prod())


@pytest.mark.parametrize("blind", [False, True])
def test_placeholders_that_do_not_fit_the_image_are_refused_naming_both_counts(
    blind: bool,
    collator: Collator,
    make_image: Callable[..., bytes],
    make_group: Callable[..., PromptGroup],
) -> None:
    group = make_group([3, make_image(1), 4], [5])
    larger = replace(group, images=(make_image(2, 140, 84),))
    with pytest.raises(ValueError, match=r"\[15\], got \[9\]"):
        collator([larger], blind=blind)
    with pytest.raises(ValueError, match=r"\[\], got \[9\]"):
        collator([replace(group, images=())], blind=blind)
    with pytest.raises(ValueError, match=r"\[9, 9\], got \[9\]"):
        collator([replace(group, images=group.images * 2)], blind=blind)


def test_token_ids_that_the_model_cannot_mean_are_refused(
    collator: Collator,
    policy: PolicyModel,
    make_image: Callable[..., bytes],
    make_group: Callable[..., PromptGroup],
) -> None:
    collate, plain = collator, make_group([3], [5])
    for token in (policy.config.image_token_id, policy.config.video_token_id):
        response = np.array([20, token, 21], np.int32)
        with pytest.raises(ValueError, match=f"image or video placeholder, got token {token}"):
            collate([plain, replace(plain, responses=(response,))])
    video = np.array([20, policy.config.video_token_id, 21], np.int32)
    with pytest.raises(ValueError, match="must not hold video tokens"):
        collate([replace(plain, prompt_token_ids=video)])
    with pytest.raises(ValueError, match="must end with a text token"):
        collate([make_group([3, make_image(1)], [5])])
    with pytest.raises(ValueError, match="at least one token, got none"):
        replace(plain, prompt_token_ids=np.empty(0, np.int32))
    with pytest.raises(ValueError, match="at least one group"):
        collate([])
    with pytest.raises(ValueError, match="must be decodable"):
        collate([replace(make_group([3, make_image(1), 2], [5]), images=(b"not an image",))])


def test_a_check_finds_all_but_broken_pixels_without_decoding(
    collator: Collator, make_image: Callable[..., bytes], make_group: Callable[..., PromptGroup]
) -> None:
    torn = make_group([3, make_image(1), 2], [5])
    torn = replace(torn, images=(torn.images[0][:-200],))
    collator.check(torn)
    with pytest.raises(ValueError, match="must be decodable"):
        collator([torn])
    with pytest.raises(ValueError, match=r"\[15\], got \[9\]"):
        collator.check(replace(torn, images=(make_image(2, 140, 84),)))


def test_an_image_is_preprocessed_once_while_there_is_room_for_it(
    processor: Any, make_image: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = images.preprocess
    monkeypatch.setattr(images, "preprocess", lambda p, data: made.append(len(data)) or real(p, data))
    first, second, third = (make_image(seed, 84, 84 + 28 * seed) for seed in range(3))
    whole = real(processor.image_processor, [first, second, third, first])
    room = whole.pixel_values[: 36 + 48 + 60].nbytes
    reader = ImageReader(processor.image_processor, cache_bytes=room)
    batch = reader.read([first, second, third, first])
    assert torch.equal(batch.pixel_values, whole.pixel_values)
    assert torch.equal(batch.grids, whole.grids)
    reader.read([third, first])
    assert made == [3]
    reader.read([make_image(9, 84, 84)])  # as large as the oldest, `second`, at most
    reader.read([first, third])
    assert made == [3, 1]
    reader.read([second])
    assert made == [3, 1, 1]
    small = ImageReader(processor.image_processor, cache_bytes=0)
    assert torch.equal(small.read([first, first]).pixel_values, whole.pixel_values[:36].repeat(2, 1))


def test_a_groups_responses_share_their_prompt_and_keep_their_order(
    collator: Collator,
    make_image: Callable[..., bytes],
    make_group: Callable[..., PromptGroup],
) -> None:
    image = make_image(1)
    made = make_group([3, image, 4], [7, 0, 3])
    rollouts = [
        Rollout(
            response_token_ids=ids,
            behaviour_logprobs=np.zeros(len(ids), np.float32),
            version_spans=(VersionSpan(version=0, start=0, end=len(ids)),),
            finish_reason="stop",
            text="",
        )
        for ids in made.responses
    ]
    prompt = Prompt(prompt_id="p", question="q", answer="a", images=(image,))
    group = RolloutGroup(
        group_id="g", prompt=prompt, prompt_token_ids=made.prompt_token_ids, rollouts=tuple(rollouts)
    )
    inputs = collator([prompt_group(group)])
    assert inputs.lengths == (7, 0, 3)
    assert inputs.target_ids.tolist() == np.concatenate(made.responses).tolist()
    assert [part.tolist() for part in inputs.split(inputs.target_ids)] == [r.tolist() for r in made.responses]
    assert inputs.num_tokens == len(made.prompt_token_ids) + 6 + 2
    assert inputs.image_grids is not None
    assert len(inputs.image_grids) == 1


def test_a_rotated_photograph_fits_the_placeholders_of_its_upright_shape(
    collator: Collator, make_group: Callable[..., PromptGroup], processor: Any
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (140, 56), "red").save(buffer, "JPEG", exif=exif)
    assert image_grid(processor.image_processor, buffer.getvalue()) == (1, 10, 4)
    assert preprocess(processor.image_processor, [buffer.getvalue()]).grids.tolist() == [[1, 10, 4]]
