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
from pgpo_async.policy.images import image_grid, preprocess
from pgpo_async.policy.inputs import Collator, PolicySequence, sequences_of
from pgpo_async.policy.loading import load_processor
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.positions import next_position, rotary_positions


def test_rotary_positions_are_those_of_transformers(
    policy: PolicyModel, processor: Any, mixed_sequences: list[PolicySequence]
) -> None:
    for sequence in mixed_sequences:
        ids = torch.from_numpy(sequence.prompt_token_ids.astype(np.int64))[None]
        is_image = ids == policy.config.image_token_id
        grids = [image_grid(processor.image_processor, data) for data in sequence.images]
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
    collators: dict[str, Collator],
    make_image: Callable[..., bytes],
    make_sequence: Callable[..., PolicySequence],
) -> None:
    sequence = make_sequence([3, make_image(1), 4], 5)
    larger = replace(sequence, images=(make_image(2, 140, 84),))
    with pytest.raises(ValueError, match=r"\[15\], got \[9\]"):
        collators["packed"]([larger], blind=blind)
    with pytest.raises(ValueError, match=r"\[\], got \[9\]"):
        collators["packed"]([replace(sequence, images=())], blind=blind)
    with pytest.raises(ValueError, match=r"\[9, 9\], got \[9\]"):
        collators["packed"]([replace(sequence, images=sequence.images * 2)], blind=blind)


def test_token_ids_that_the_model_cannot_mean_are_refused(
    collators: dict[str, Collator],
    policy: PolicyModel,
    make_image: Callable[..., bytes],
    make_sequence: Callable[..., PolicySequence],
) -> None:
    collate, plain = collators["packed"], make_sequence([3], 5)
    for token in (policy.config.image_token_id, policy.config.video_token_id):
        response = np.array([20, token, 21], np.int32)
        with pytest.raises(ValueError, match=f"image or video placeholder, got token {token}"):
            collate([plain, replace(plain, response_token_ids=response)])
    video = np.array([20, policy.config.video_token_id, 21], np.int32)
    with pytest.raises(ValueError, match="must not hold video tokens"):
        collate([replace(plain, prompt_token_ids=video)])
    with pytest.raises(ValueError, match="must end with a text token"):
        collate([make_sequence([3, make_image(1)], 5)])
    with pytest.raises(ValueError, match="at least one token, got none"):
        replace(plain, prompt_token_ids=np.empty(0, np.int32))
    with pytest.raises(ValueError, match="at least one sequence"):
        collate([])
    with pytest.raises(ValueError, match="must be decodable"):
        collate([replace(make_sequence([3, make_image(1), 2], 5), images=(b"not an image",))])


def test_layouts_are_checked(processor: Any, policy: PolicyModel) -> None:
    with pytest.raises(ValueError, match="must be 'packed' or 'padded', got 'jagged'"):
        Collator(processor, policy.config, layout="jagged")  # type: ignore[arg-type]


def test_a_groups_sequences_share_their_prompt_and_keep_their_order(
    collators: dict[str, Collator],
    make_image: Callable[..., bytes],
    make_sequence: Callable[..., PolicySequence],
) -> None:
    image = make_image(1)
    prompt_ids = make_sequence([3, image, 4], 0).prompt_token_ids
    responses = [make_sequence([1], size, seed=size).response_token_ids for size in (7, 0, 3)]
    rollouts = [
        Rollout(
            response_token_ids=ids,
            behaviour_logprobs=np.zeros(len(ids), np.float32),
            version_spans=(VersionSpan(version=0, start=0, end=len(ids)),),
            finish_reason="stop",
            text="",
        )
        for ids in responses
    ]
    prompt = Prompt(prompt_id="p", question="q", answer="a", images=(image,))
    group = RolloutGroup(group_id="g", prompt=prompt, prompt_token_ids=prompt_ids, rollouts=tuple(rollouts))
    sequences = sequences_of(group)
    inputs = collators["packed"](sequences)
    assert inputs.lengths == (7, 0, 3)
    assert inputs.target_ids.tolist() == np.concatenate(responses).tolist()
    assert [part.tolist() for part in inputs.split(inputs.target_ids)] == [r.tolist() for r in responses]
    assert inputs.num_tokens == sum(collators["packed"].num_tokens(s) for s in sequences)
    assert inputs.image_grids is not None
    assert len(inputs.image_grids) == 1


def test_a_rotated_photograph_fits_the_placeholders_of_its_upright_shape(
    collators: dict[str, Collator], make_sequence: Callable[..., PolicySequence], processor: Any
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (140, 56), "red").save(buffer, "JPEG", exif=exif)
    assert image_grid(processor.image_processor, buffer.getvalue()) == (1, 10, 4)
    assert preprocess(processor.image_processor, [buffer.getvalue()]).grids.tolist() == [[1, 10, 4]]
