import dataclasses
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from support.scene_pixels import connected_boxes, scene_pixels, shape_in_box

from pgpo_async.demo.scenes import COLOURS
from pgpo_async.demo.shapes import (
    ANSWERS,
    DEMO_INSTRUCTION,
    QUESTIONS,
    question_kind,
    response_text,
    shapes_example,
    user_text,
)


def colour_and_boxes(pixels: np.ndarray) -> tuple[str, list[tuple[int, int, int, int]], np.ndarray]:
    """The one shape colour, the bounding box (left, top, right, bottom) of each connected shape, the mask."""
    foreground = (pixels != pixels[0, 0]).any(axis=-1)
    colours = {tuple(int(c) for c in pixel) for pixel in pixels[foreground]}
    assert len(colours) == 1
    (rgb,) = colours
    (name,) = [name for name, value in COLOURS.items() if value == rgb]
    return name, connected_boxes(foreground), foreground


def test_the_same_arguments_give_the_same_example() -> None:
    assert shapes_example("train", 3, 41) == shapes_example("train", 3, 41)


def test_an_example_does_not_depend_on_the_process_or_on_those_before_it() -> None:
    code = (
        "import hashlib; from pgpo_async.demo.shapes import shapes_example;"
        "print(hashlib.sha256(repr(shapes_example('train', 3, 41)).encode()).hexdigest())"
    )
    for_others = [shapes_example("train", 3, index) for index in range(42)]
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == hashlib.sha256(repr(for_others[41]).encode()).hexdigest()


def test_the_drawn_scenes_stay_what_the_checkpoint_was_trained_on() -> None:
    answers = " ".join(shapes_example("heldout", 0, index).answer for index in range(12))
    assert answers == "blue 3 triangle green 2 circle yellow 2 circle yellow 4 square"


def test_seeds_and_indices_give_plentiful_images() -> None:
    images = {shapes_example("train", seed, index).image_png for seed in range(4) for index in range(500)}
    assert len(images) > 1990


def test_no_image_occurs_in_both_splits() -> None:
    train = {shapes_example("train", 0, index).image_png for index in range(1500)}
    heldout = {shapes_example("heldout", seed, index).image_png for seed in range(3) for index in range(500)}
    assert not train & heldout


@pytest.mark.parametrize(("split", "parity"), [("train", 0), ("heldout", 1)])
def test_the_split_can_be_read_off_the_pixels(split: str, parity: int) -> None:
    for index in range(120):
        _, boxes, _ = colour_and_boxes(scene_pixels(shapes_example(split, 5, index)))  # type: ignore[arg-type]
        assert all((left + right) % 2 == 0 for left, _, right, _ in boxes)
        assert sum((left + right) // 2 for left, _, right, _ in boxes) % 2 == parity


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_answer_is_what_the_pixels_show(split: str) -> None:
    for index in range(120):
        example = shapes_example(split, 7, index)  # type: ignore[arg-type]
        colour, boxes, foreground = colour_and_boxes(scene_pixels(example))
        shapes = {shape_in_box(foreground, box) for box in boxes}
        assert len(shapes) == 1
        seen = {"colour": colour, "count": str(len(boxes)), "shape": shapes.pop()}
        assert example.answer == seen[question_kind(example.question)]


def test_every_question_and_every_answer_occurs_evenly() -> None:
    examples = [shapes_example("train", 0, index) for index in range(1800)]
    for kind, answers in ANSWERS.items():
        of_kind = [e.answer for e in examples if question_kind(e.question) == kind]
        assert len(of_kind) == 600
        shares = {answer: of_kind.count(answer) / len(of_kind) for answer in answers}
        assert all(abs(share - 1 / len(answers)) < 0.06 for share in shares.values())


def test_the_clean_response_states_the_answer_in_thought_and_box() -> None:
    example = shapes_example("train", 0, 0)
    assert example.question == "what colour are the shapes ?"
    assert example.clean_response == (
        f"<think> the shapes in the image are {example.answer} . </think> \\boxed{{{example.answer}}}"
    )
    assert response_text("colour", "red").endswith(r"\boxed{red}")


def test_the_user_text_ends_with_the_instruction() -> None:
    assert user_text(QUESTIONS["count"]) == f"how many shapes are there ? {DEMO_INSTRUCTION}"


def test_example_ids_are_unique_and_name_their_origin() -> None:
    assert shapes_example("heldout", 2, 9).example_id == "shapes/heldout/2/9"


def test_an_example_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        shapes_example("train", 0, 0).answer = "red"  # type: ignore[misc]


def test_bad_arguments_are_refused_with_their_values() -> None:
    with pytest.raises(ValueError, match="split must be 'train' or 'heldout', got 'test'"):
        shapes_example("test", 0, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed and index must be at least 0, got seed=0, index=-1"):
        shapes_example("train", 0, -1)
    with pytest.raises(ValueError, match="question must be one of"):
        question_kind("why ?")


def test_the_shapes_import_no_heavy_library() -> None:
    code = (
        "import sys; import pgpo_async.demo.shapes, pgpo_async.demo.tiny_vlm;"
        "print([m for m in ('torch', 'transformers', 'ray', 'vllm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
