"""A question to a model, checked: the config it is asked with, and the prompt with its images.

Owns what the options of `pgpo-async tokens --model` mean. Loads no model, so that what is wrong is told at
once. Called by `command`; `model` asks the question.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pgpo_async.config import RunConfig, load_config
from pgpo_async.config.inputs import DataConfig, GenerationConfig
from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.data.image_files import ImageRules, image_bytes
from pgpo_async.demo.shapes import DEMO_INSTRUCTION, DEMO_SYSTEM_PROMPT
from pgpo_async.policy.decoding import decode_image
from pgpo_async.policy.model_path import resolve_model_path

DEMO_MAX_TOKENS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """A model, a question about images (paths), and how to sample; None takes the config's."""

    model: str
    images: tuple[str, ...]
    question: str
    answer: str | None = None
    samples: int = 4
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int = 0
    config: Path | None = None


def config_of(request: ModelRequest) -> RunConfig:
    """How the model is asked: the given config, or the defaults, for a demo model the demo's.

    Raises ConfigError, also for a model that cannot be one.
    """
    check_model(request.model, "--model")
    if request.config is not None:
        config = load_config(request.config)
    elif request.model.startswith("builtin:"):
        config = RunConfig(
            data=DataConfig(system_prompt=DEMO_SYSTEM_PROMPT, instruction=DEMO_INSTRUCTION),
            generation=GenerationConfig(max_response_tokens=DEMO_MAX_TOKENS),
        )
    else:
        config = RunConfig()
    model = config.model
    most = max(model.max_images_per_prompt, len(request.images))
    asked = {"max_response_tokens": request.max_tokens, "temperature": request.temperature}
    given = {name: value for name, value in asked.items() if value is not None}
    return config.model_copy(
        update={
            "model": model.model_copy(update={"path": request.model, "max_images_per_prompt": most}),
            "generation": config.generation.model_copy(update=given),
        }
    )


def suited(config: RunConfig, request: ModelRequest, device: str) -> RunConfig:
    """The config for a device: without a config given, float32 on a processor, where bfloat16 is slow."""
    if request.config is not None or device != "cpu":
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"dtype": "float32"})})


def prompt_of(request: ModelRequest, config: RunConfig) -> Prompt:
    """The question with its images. Raises ConfigError, naming the image that cannot be used."""
    if not request.question.strip():
        raise ConfigError("--question must be a text that is not empty")
    if request.answer is not None and not request.answer.strip():
        raise ConfigError("--answer must be a text that is not empty; without it there are no rewards")
    rules = replace(ImageRules.of(config.data, config.model), allow_outside_paths=True)
    images = []
    for path in request.images:
        try:
            data = image_bytes(str(Path(path).expanduser()), Path.cwd(), rules)
            decode_image(data, max_pixels=rules.max_image_pixels)
        except ValueError as error:
            raise ConfigError(f"--image {path}: {' '.join(str(error).split())}") from error
        images.append(data)
    return Prompt(
        prompt_id="asked", question=request.question, answer=request.answer or "", images=tuple(images)
    )


def check_model(path: str, option: str) -> None:
    """Raise ConfigError, with the option's name, for what cannot be a model's path. Nothing is loaded."""
    with told_of(option):
        resolve_model_path(path)


@contextmanager
def told_of(option: str) -> Iterator[None]:
    """Tell of a model's errors in one line each, with the option that named it in place of `model.path`."""
    try:
        yield
    except ConfigError as error:
        lines = [" ".join(issue.replace("model.path", option).split()) for issue in error.issues]
        raise ConfigError(lines) from error
