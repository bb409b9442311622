import hashlib
import random
import re
import subprocess
import sys

import numpy as np
import pytest
from support.scene_pixels import connected_boxes, scene_pixels, shape_in_box

from pgpo_async.demo.object_phrases import SLOTS, response_text
from pgpo_async.demo.objects import (
    ANSWERS,
    QUESTIONS,
    asked_value,
    count_of,
    described_looks,
    noisy_response,
    objects_example,
)
from pgpo_async.demo.sampling import boxed_answer
from pgpo_async.demo.scenes import COLOURS, SHAPES, DemoExample, Split
from pgpo_async.demo.task import OBJECTS_TASK
from pgpo_async.demo.tokenizer import train_tokenizer

MIN_TOKENS, MAX_TOKENS = 70, 110


def drawn_looks(example: DemoExample) -> list[tuple[str, str]]:
    """The (colour, shape) pairs in reading order, by the pixels."""
    pixels = scene_pixels(example)
    foreground = (pixels != pixels[0, 0]).any(axis=-1)
    names = {rgb: name for name, rgb in COLOURS.items()}
    boxes = sorted(connected_boxes(foreground), key=lambda box: (box[1] >= 42, box[0] >= 42))
    return [
        (
            names[tuple(int(c) for c in pixels[box[3] - 1, (box[0] + box[2]) // 2])],
            shape_in_box(foreground, box),
        )
        for box in boxes
    ]


def without_looks(response: str) -> str:
    """A response with its described colours and shapes and its digits blanked."""
    for colour, shape in described_looks(response):
        response = response.replace(f"{colour} {shape}", "_ _")
    return re.sub(r"\d", "_", response)


def test_an_example_does_not_depend_on_the_process_or_on_those_before_it() -> None:
    code = (
        "import hashlib; from pgpo_async.demo.objects import objects_example;"
        "print(hashlib.sha256(repr(objects_example('train', 3, 41)).encode()).hexdigest())"
    )
    for_others = [objects_example("train", 3, index) for index in range(42)]
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert elsewhere.stdout.strip() == hashlib.sha256(repr(for_others[41]).encode()).hexdigest()


def test_no_image_occurs_in_both_splits() -> None:
    train = {objects_example("train", 0, index).image_png for index in range(800)}
    heldout = {objects_example("heldout", seed, index).image_png for seed in range(2) for index in range(400)}
    assert len(train) > 790
    assert not train & heldout


@pytest.mark.parametrize(("split", "parity"), [("train", 0), ("heldout", 1)])
def test_the_split_can_be_read_off_the_pixels(split: Split, parity: int) -> None:
    for index in range(60):
        pixels = scene_pixels(objects_example(split, 5, index))
        boxes = connected_boxes((pixels != pixels[0, 0]).any(axis=-1))
        assert len(boxes) == 4
        assert all((left + right) % 2 == 0 for left, _, right, _ in boxes)
        assert sum((left + right) // 2 for left, _, right, _ in boxes) % 2 == parity


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_clean_response_describes_and_counts_what_the_pixels_show(split: Split) -> None:
    for index in range(60):
        example = objects_example(split, 7, index)
        looks = drawn_looks(example)
        assert described_looks(example.clean_response) == looks
        assert example.answer == str(count_of(looks, asked_value(example.question)))
        assert boxed_answer(example.clean_response) == example.answer
        assert f" is {example.answer} . </think>" in example.clean_response


def test_questions_alternate_and_every_count_occurs_evenly() -> None:
    examples = [objects_example("train", 0, index) for index in range(1500)]
    assert {e.question for e in examples} == set(QUESTIONS)
    assert all((asked_value(e.question) in SHAPES) == bool(i % 2) for i, e in enumerate(examples))
    shares = [sum(e.answer == answer for e in examples) / len(examples) for answer in ANSWERS]
    assert np.allclose(shares, 1 / len(ANSWERS), atol=0.04)


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_noisy_response_counts_what_it_describes(noise: float) -> None:
    generator = random.Random(0)
    num_wrong = 0
    for index in range(200):
        example = objects_example("train", 1, index)
        response = noisy_response(example, noise, generator)
        count = str(count_of(described_looks(response), asked_value(example.question)))
        assert boxed_answer(response) == count
        assert f" is {count} . </think>" in response
        assert without_looks(response) == without_looks(example.clean_response)
        num_wrong += count != example.answer
    assert num_wrong > 60


def test_noise_replaces_each_word_of_what_is_seen_by_its_own_chance() -> None:
    generator = random.Random(0)
    kept = [0, 0]
    for index in range(400):
        example = objects_example("train", 1, index)
        noisy = described_looks(noisy_response(example, 0.6, generator))
        for own, other in zip(described_looks(example.clean_response), noisy, strict=True):
            kept = [kept[0] + (own[0] == other[0]), kept[1] + (own[1] == other[1])]
    assert kept[0] / 1600 == pytest.approx(0.4 + 0.6 / 4, abs=0.05)
    assert kept[1] / 1600 == pytest.approx(0.4 + 0.6 / 3, abs=0.05)


def test_without_noise_the_response_is_the_clean_one() -> None:
    example = objects_example("train", 0, 3)
    assert noisy_response(example, 0.0, random.Random(0)) == example.clean_response


def test_paraphrases_change_neither_what_is_seen_nor_the_answer() -> None:
    looks = [("red", "circle"), ("blue", "square"), ("red", "square"), ("green", "triangle")]
    texts = {response_text(looks, "red", "2", [row % len(slot) for slot in SLOTS]) for row in range(8)}
    assert len(texts) == 8
    assert all(described_looks(text) == looks and boxed_answer(text) == "2" for text in texts)
    words = {word for slot in SLOTS for fill in slot for word in fill.split()}
    named = {*COLOURS, *SHAPES, *(f"{shape}s" for shape in SHAPES)}
    assert not words & named
    assert not any(character.isdigit() for word in words for character in word)


def test_the_paraphrases_of_an_answer_are_spread_as_those_of_any_other() -> None:
    """A slot's first word must be as frequent whatever the answer: it may tell nothing."""
    examples = [objects_example("train", 2, index) for index in range(1500)]
    for word, share in (("nice", 1 / 8), ("flat", 1 / 8)):
        for answer in ANSWERS:
            of_answer = [e.clean_response.split() for e in examples if e.answer == answer]
            found = sum(words.count(word) for words in of_answer) / (4 * len(of_answer))
            assert found == pytest.approx(share, abs=0.04)


def test_every_word_of_a_response_is_one_token_and_its_length_is_bounded() -> None:
    tokenizer = train_tokenizer(OBJECTS_TASK)
    for index in range(300):
        response = objects_example("train", 0, index).clean_response
        tokens = tokenizer(response)["input_ids"]
        assert MIN_TOKENS <= len(tokens) <= MAX_TOKENS
        words = re.findall(r"[a-z]+", response)
        pieces = [tokenizer.decode([token]) for token in tokens]
        letters = [re.sub("[^a-z]", "", piece) for piece in pieces]
        assert [word for word in letters if word] == words


def test_questions_are_read_as_whole_words() -> None:
    tokenizer = train_tokenizer(OBJECTS_TASK)
    for question in QUESTIONS:
        assert len(tokenizer(question)["input_ids"]) == 5


def test_bad_arguments_are_refused_with_their_values() -> None:
    with pytest.raises(ValueError, match="split must be 'train' or 'heldout', got 'test'"):
        objects_example("test", 0, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed and index must be at least 0, got seed=-1, index=0"):
        objects_example("train", -1, 0)
    with pytest.raises(ValueError, match=r"question must be one of .* got 'why"):
        asked_value("why ?")


def test_the_tasks_import_no_heavy_library() -> None:
    code = (
        "import sys; import pgpo_async.demo.task, pgpo_async.demo.tiny_vlm;"
        "print([m for m in ('torch', 'transformers', 'ray', 'vllm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
