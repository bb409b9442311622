"""The programs in a card: how transformers and vLLM load the model, with prompts as in training.

Owns those texts, which are to run as they stand. Called by `card`.
"""

from typing import Any

from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_files import as_count, as_number

IMAGE = "image.png"
"""What the programs look at."""

_PROMPT = """\
folder = "."  # this folder, or the model's name on the Hub
question = "What is in the image?"
{instruction}processor = AutoProcessor.from_pretrained(folder)
content = [{{"type": "image"}}, {{"type": "text", "text": {question}}}]
messages = [{system}{{"role": "user", "content": content}}]
prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
image = Image.open("{image}").convert("RGB")
"""

_TRANSFORMERS = """\
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

{prompt}
model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
inputs = processor(text=[prompt], images=[image], return_tensors="pt").to(model.device)
sampling = dict(do_sample=True, temperature={temperature}, top_p={top_p}, top_k=0, repetition_penalty=1.0)
output = model.generate(**inputs, max_new_tokens={max_tokens}, **sampling)
answer = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
print(answer)
"""

_VLLM = """\
from PIL import Image
from transformers import AutoProcessor
from vllm import LLM, SamplingParams

{prompt}
if __name__ == "__main__":
    most = {{"image": {num_images}, "video": 0}}
    engine = LLM(model=folder, max_model_len={max_length}, limit_mm_per_prompt=most)
    sampling = SamplingParams(max_tokens={max_tokens}, temperature={temperature}, top_p={top_p})
    request = {{"prompt": prompt, "multi_modal_data": {{"image": image}}}}
    answer = engine.generate([request], sampling)[0].outputs[0].text
    print(answer)
"""


def transformers_program(run: RunData) -> str:
    """Return a program that answers a question with transformers."""
    return _TRANSFORMERS.format(prompt=_prompt(run), **_sampling(run))


def vllm_program(run: RunData) -> str:
    """Return one that does so with vLLM."""
    sampling = _sampling(run)
    longest = (as_count(run.setting("data.max_prompt_tokens")) or 4096) + sampling["max_tokens"]
    num_images = as_count(run.setting("model.max_images_per_prompt")) or 1
    return _VLLM.format(prompt=_prompt(run), max_length=longest, num_images=num_images, **sampling)


def _prompt(run: RunData) -> str:
    """As `data.chat` lays out a prompt in training: the instruction follows the question."""
    instruction, system = run.setting("data.instruction"), run.setting("data.system_prompt")
    turn = f'{{"role": "system", "content": [{{"type": "text", "text": {system!r}}}]}}, ' if system else ""
    return _PROMPT.format(
        instruction=f"instruction = {instruction!r}\n" if instruction else "",
        question='f"{question} {instruction}"' if instruction else "question",
        system=turn,
        image=IMAGE,
    )


def _sampling(run: RunData) -> dict[str, Any]:
    return {
        "max_tokens": as_count(run.setting("generation.max_response_tokens")) or 2048,
        "temperature": as_number(run.setting("generation.temperature")) or 1.0,
        "top_p": as_number(run.setting("generation.top_p")) or 1.0,
    }
