"""Config sections of what goes in: the model, the prompts, the sampling, the held-out prompts."""

import difflib
from typing import Any, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from pgpo_async.config.base import Section

LinearLayer = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""What a layer of the language model is made of, in all models that are supported."""


class LoraConfig(Section):
    """Low-rank adapters (LoRA): what is trained and published in the place of the model's weights.

    There is no dropout: the learner's log-probs would be of another policy than the one that sampled.
    """

    rank: int = Field(default=0, ge=0, le=512)
    """Of every layer's adapter, W x + alpha / rank * B A x; 0 trains the weights themselves."""
    alpha: PositiveInt | None = None
    """Twice the rank where not given."""
    target_modules: tuple[LinearLayer, ...] = Field(default=get_args(LinearLayer), strict=False)
    """Linear layers of the language model that get one."""

    @property
    def scale(self) -> float:
        """What an adapter's output is multiplied by."""
        return self.whole_alpha / self.rank

    @property
    def whole_alpha(self) -> int:
        """`alpha`, or its default."""
        return 2 * self.rank if self.alpha is None else self.alpha


class ModelConfig(Section):
    """The policy: one model, read by generators, scorers and learner alike."""

    path: str = "builtin:tiny-vlm"
    """A folder, a hub name, `builtin:tiny-vlm` or `builtin:tiny-vlm-objects`."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Precision of generators and scorers, and of the learner's forward pass."""
    min_pixels: PositiveInt | None = None
    """Smallest image area after resizing; the processor's own where not given."""
    max_pixels: PositiveInt | None = None
    """Largest image area after resizing; the processor's own where not given."""
    max_images_per_prompt: PositiveInt = 1
    """A prompt with more images is quarantined."""
    train_vision_tower: bool = True
    """Whether the vision tower gets gradients; with adapters it never does."""
    lora: LoraConfig = LoraConfig()
    attention: Literal["auto", "flash", "math"] = "auto"
    """Kernel of scorers and learner: flash where device and precision have it (`auto`), or plain maths."""
    trust_remote_code: bool = False
    """Whether Python code that the model's folder or hub page brings is run, here and in vLLM."""


class _ListedSection(Section):
    """A section that lists may hold: tells its unknown keys itself, for `fields` knows sections by name."""

    @model_validator(mode="before")
    @classmethod
    def _keys_are_known(cls, values: Any) -> Any:
        unknown = sorted(set(values) - set(cls.model_fields)) if isinstance(values, dict) else []
        if unknown:
            known = ", ".join(f"`{name}`" for name in cls.model_fields)
            near = [
                close[0]
                for name in unknown
                if (close := difflib.get_close_matches(name, cls.model_fields, n=1))
            ]
            hint = f" (did you mean {', '.join(f'`{name}`' for name in near)}?)" if near else ""
            context = {"names": ", ".join(f"`{name}`" for name in unknown) + hint, "known": known}
            raise PydanticCustomError("unknown_keys", "must have no keys but {known}: {names}", context)
        return values


class ColumnsConfig(_ListedSection):
    """What a data set calls the columns we read."""

    images: str = "images"
    """Bytes, paths or {bytes, path}, one or a list of them; null or an empty list for none."""
    problem: str = "problem"
    """The question."""
    answer: str = "answer"
    """The reference answer."""


class SourceConfig(_ListedSection):
    """One of several sources of prompts."""

    source: str = ""
    """As `data.source`."""
    weight: PositiveFloat = 1.0
    """Its share of the prompts, relative to the other sources' weights."""
    columns: ColumnsConfig | None = None
    """As `data.columns`, which it is where not given."""


class DataConfig(Section):
    """The prompts to train on, and how a question becomes a chat."""

    source: str = "builtin:shapes"
    """`builtin:shapes`, `builtin:objects`, a Parquet or JSONL file, a folder of them, or
    `hub:NAME[:SUBSET][@SPLIT]`, a data set of the Hub."""
    sources: tuple[SourceConfig, ...] = Field(default=(), strict=False)
    """Several sources, mixed by their weights, in the place of `data.source`."""
    columns: ColumnsConfig = ColumnsConfig()
    """What the source calls its columns, and so does `evaluation.source`."""
    require_image: bool = False
    """Whether a prompt without an image is quarantined, as "no_image"; held-out prompts may have none."""
    seed: int = 0
    """Seeds the drawing order."""
    max_prompt_tokens: PositiveInt = 4096
    """A longer prompt (image tokens included) is quarantined."""
    system_prompt: str = "You are a helpful assistant."
    """Empty for none."""
    instruction: str = (
        "You first think through the reasoning process as an internal monologue, enclosed within "
        "<think> </think> tags. Then, provide your final answer enclosed within \\boxed{}."
    )
    """Follows the question in the user's turn."""
    max_image_bytes: PositiveInt = 64 << 20
    """A larger image file is quarantined before it is read."""
    max_image_pixels: int = Field(default=89_478_485, ge=1, le=178_956_970)
    """An image that claims more pixels is quarantined before it is decoded. Pillow reads no larger ones."""
    allow_outside_paths: bool = False
    """Whether image paths may lead out of the data file's folder: absolute ones, `..`, symbolic links."""
    allow_image_urls: bool = False
    """Whether images may be `data:` URLs, and `file:` URLs, which count as paths. None is ever downloaded."""

    @model_validator(mode="before")
    @classmethod
    def _sources_displace_the_default(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("sources") and "source" not in values:
            return values | {"source": ""}
        return values


class GenerationConfig(Section):
    """How responses are sampled."""

    group_size: PositiveInt = 8
    """G: responses to one prompt."""
    max_response_tokens: PositiveInt = 2048
    """A response is cut here (finish reason "length")."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Applied by vLLM and by the trainer alike."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Below 1 the behaviour log-probs are those of the truncated distribution: biased, accepted, warned."""


class EvaluationConfig(Section):
    """The held-out prompts, asked before and after training, or while it goes on; and how benchmarks are."""

    source: str = "builtin:shapes"
    """As `data.source`; built-in data take their held-out split, `hub:` data need `@SPLIT`."""
    columns: ColumnsConfig | None = None
    """As `data.columns`, which it is where not given."""
    num_prompts: int = Field(default=200, ge=0)
    """0 turns evaluation off."""
    before: bool = True
    """Whether they are asked before training, too."""
    every: int = Field(default=0, ge=0)
    """Steps between evaluations while training goes on, on engines of their own; 0 for none."""
    replicas: PositiveInt = 1
    """Such engines, each placed and made as a generator is."""
    samples_per_prompt: PositiveInt = 4
    """k of avg@k."""
    temperature: float = Field(default=1.0, ge=0.0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Of the sampled distribution."""
    max_response_tokens: PositiveInt | None = None
    """A response is cut here; generation.max_response_tokens where not given, and never more."""
    seed: int = Field(default=0, ge=0)
    """Seeds each prompt's responses: the same weights give the same answers, two models differ by weights."""
