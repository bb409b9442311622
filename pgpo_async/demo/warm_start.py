"""Supervised warm start: first clean answers until the model sees, then noisy ones until it is unsure.

Owns the batches and the optimizer. Clean first, because a model that meets noisy answers from the start
never learns to look at the image. The noise is the task's: random words of what is seen, inside a well-formed
response: what is lost is accuracy, not format. Called by `demo.build`.
"""

import io
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image

from pgpo_async.demo.scenes import DemoExample
from pgpo_async.demo.shapes import user_text
from pgpo_async.demo.task import DemoTask
from pgpo_async.demo.tokenizer import END_OF_TURN_TOKEN

_IGNORED_LABEL = -100
_GRADIENT_CLIP = 1.0


def prompt_text(processor: Any, question: str) -> str:
    """The chat-formatted prompt of a question, with one image placeholder, open for the assistant's turn."""
    content = [{"type": "image"}, {"type": "text", "text": user_text(question)}]
    messages = [{"role": "user", "content": content}]
    text: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return text


def open_image(example: DemoExample) -> Image.Image:
    """The example's decoded image."""
    return Image.open(io.BytesIO(example.image_png))


class WarmStart:
    """A training run over a task's training split that can be continued with another noise share.

    `seed` picks the data and the noise. `num_steps` counts the steps done so far.
    """

    def __init__(self, model: Any, processor: Any, task: DemoTask, *, seed: int) -> None:
        self._model = model
        self._task = task
        self._processor = processor
        self._seed = seed
        self._random = random.Random(seed)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.01, betas=(0.9, 0.98))
        self.num_steps = 0

    def train(self, num_steps: int, *, learning_rates: Callable[[int], float], noise: float) -> float:
        """Run `num_steps` steps; a share `noise` of what the responses say they see is random.

        `learning_rates` maps the step within this call, from 0, to the rate. Returns the mean loss, in nats a
        token, over the call's last quarter.
        """
        self._model.train()
        losses = []
        for step in range(num_steps):
            batch = self._next_batch(noise)
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rates(step)
            loss = self._model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._model.parameters(), _GRADIENT_CLIP)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            self.num_steps += 1
            losses.append(float(loss.detach()))
        tail = losses[-max(1, num_steps // 4) :]
        return sum(tail) / len(tail)

    def _next_batch(self, noise: float) -> dict[str, torch.Tensor]:
        size = self._task.schedule.batch_size
        first = self.num_steps * size
        examples = [self._task.example("train", self._seed, first + i) for i in range(size)]
        responses = [self._task.noisy_response(example, noise, self._random) for example in examples]
        return supervised_batch(self._processor, examples, responses)


def supervised_batch(
    processor: Any, examples: Sequence[DemoExample], responses: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Model inputs for teaching `responses`, padded on the right; only response tokens carry labels.

    All tensors are [B, T] but `pixel_values` [patches, 1176] and `image_grid_thw` [B, 3].
    """
    prompts = [prompt_text(processor, example.question) for example in examples]
    texts = [
        f"{prompt}{response}{END_OF_TURN_TOKEN}" for prompt, response in zip(prompts, responses, strict=True)
    ]
    inputs = processor(
        text=texts,
        images=[open_image(example) for example in examples],
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )
    ids = inputs["input_ids"]
    labels = ids.masked_fill(inputs["attention_mask"] == 0, _IGNORED_LABEL)
    # The response follows the last turn's opening: <|im_start|>, "assistant", newline.
    turn_start = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    columns = torch.arange(ids.shape[1])
    response_starts = torch.where(ids == turn_start, columns, -1).amax(dim=1) + 3
    labels = labels.masked_fill(columns < response_starts[:, None], _IGNORED_LABEL)
    return {**inputs, "labels": labels}
