import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from pgpo_async.demo import tiny_vlm
from pgpo_async.demo.sampling import boxed_answer, generate, sampled_accuracy
from pgpo_async.demo.shapes import ANSWERS, question_kind, shapes_example
from pgpo_async.demo.task import SHAPES_TASK
from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.demo.tokenizer import train_tokenizer
from pgpo_async.demo.warm_start import open_image, prompt_text, supervised_batch

MAX_FOLDER_BYTES = 3 << 20


@pytest.fixture(scope="module")
def processor() -> Any:
    return AutoProcessor.from_pretrained(tiny_vlm_path())


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForImageTextToText.from_pretrained(tiny_vlm_path(), dtype=torch.float32)


def test_the_shipped_folder_is_complete_and_small() -> None:
    files = {path.name: path.stat().st_size for path in tiny_vlm_path().iterdir()}
    assert files.keys() >= {
        "BUILD.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(files.values()) <= MAX_FOLDER_BYTES


def test_a_missing_checkpoint_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tiny_vlm, "default_output", lambda _: tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"got no model.safetensors, tokenizer.json: .*demo.build"):
        tiny_vlm_path()


def test_the_build_record_lies_inside_the_promised_window() -> None:
    record = json.loads((tiny_vlm_path() / "BUILD.json").read_text())
    assert 0.38 <= record["sampled_accuracy"] <= 0.50
    assert record["format_rate"] >= 0.95
    assert record["num_measured_samples"] >= 400


def test_the_shipped_tokenizer_is_what_the_build_trains() -> None:
    shipped = (tiny_vlm_path() / "tokenizer.json").read_text()
    assert json.loads(shipped) == json.loads(train_tokenizer().backend_tokenizer.to_str())


def test_generation_stops_at_the_end_of_the_turn(model: Any, processor: Any) -> None:
    end_of_turn = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert processor.tokenizer.eos_token_id == end_of_turn
    assert end_of_turn in model.generation_config.eos_token_id
    assert model.generation_config.pad_token_id == processor.tokenizer.pad_token_id


def test_every_vocabulary_row_is_a_token(model: Any, processor: Any) -> None:
    assert model.config.text_config.vocab_size == len(processor.tokenizer)
    assert model.get_output_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def test_a_shapes_image_becomes_nine_tokens_and_is_not_resized(processor: Any) -> None:
    example = shapes_example("train", 0, 0)
    inputs = processor(
        text=[prompt_text(processor, example.question)], images=[open_image(example)], return_tensors="pt"
    )
    assert inputs["image_grid_thw"].tolist() == [[1, 6, 6]]
    assert int(inputs["mm_token_type_ids"].sum()) == 9


def test_the_chat_format_is_qwens(processor: Any) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "why ?"}]},
    ]
    assert processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>why ?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_an_empty_system_prompt_adds_no_turn(processor: Any) -> None:
    user = {"role": "user", "content": "why ?"}
    with_empty = processor.apply_chat_template([{"role": "system", "content": ""}, user], tokenize=False)
    assert with_empty == processor.apply_chat_template([user], tokenize=False)


@pytest.mark.parametrize(
    "text", ["<think> the shapes </think> \\boxed{red}", "naïve 你好 🦜\n\t 12 + 3 = 15"]
)
def test_any_text_survives_the_tokenizer(processor: Any, text: str) -> None:
    assert processor.tokenizer.decode(processor.tokenizer(text)["input_ids"]) == text


def test_only_the_response_and_its_end_are_taught(processor: Any) -> None:
    examples = [shapes_example("train", 0, index) for index in range(3)]
    batch = supervised_batch(processor, examples, [e.clean_response for e in examples])
    for labels, example in zip(batch["labels"], examples, strict=True):
        taught = processor.tokenizer.decode(labels[labels >= 0])
        assert taught == f"{example.clean_response}<|im_end|>"


def test_greedy_answers_are_well_formed_and_plausible(model: Any, processor: Any) -> None:
    examples = [shapes_example("heldout", 1, index) for index in range(48)]
    responses, lengths = generate(model, processor, examples, max_new_tokens=40)
    for example, response in zip(examples, responses, strict=True):
        assert boxed_answer(response) in ANSWERS[question_kind(example.question)]
    assert max(lengths) <= 20


def test_sampled_accuracy_leaves_room_to_learn(model: Any, processor: Any) -> None:
    measured = sampled_accuracy(model, processor, SHAPES_TASK, num_prompts=200, samples_per_prompt=2, seed=2)
    assert 0.35 <= measured.accuracy <= 0.55
    assert measured.format_rate >= 0.95


def test_the_image_decides_the_answer(model: Any, processor: Any) -> None:
    """The first answer token's likelihood must fall when another image is shown: the model looks."""
    examples = [shapes_example("heldout", 3, 3 * index) for index in range(32)]
    others = [next(o for o in examples if o.answer != e.answer) for e in examples]
    with torch.inference_mode():
        right = supervised_loss(model, processor, examples, examples)
        wrong = supervised_loss(model, processor, others, examples)
    assert right < wrong


def supervised_loss(model: Any, processor: Any, shown: list[Any], stated: list[Any]) -> float:
    batch = supervised_batch(processor, shown, [example.clean_response for example in stated])
    return float(model(**batch).loss)
