"""What one group is made of: tokens of its prompt, its image, its responses. Stated, or taken to be so.

Owns those assumptions and their words, and the arithmetic of a group's passes. Pure. Called by the estimates.
"""

from dataclasses import dataclass

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.lengths import Lengths, response_lengths
from pgpo_async.orchestration.planning.model_shape import ModelShape

TEXT_TOKENS = 150
"""Of a question, with the template around it."""
RESPONSE_SHARE = 0.25
"""Of generation.max_response_tokens, that a response takes on average."""
_DEFAULT_PIXELS = 1_003_520
MASKED_PER_RESPONSE = frozenset({"vppo"})
"""Shapers that look at the image once more for each response, each behind a mask of its own."""
SIGHTED_ONLY = frozenset({"none", "papo", "pepo"})
"""Shapers that read all they need from the sighted pass, or from none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatedTokens:
    """What the user says of a group's mean tokens; None where nothing is said."""

    response: float | None = None
    image: float | None = None
    text: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """Tokens of one group: an image, a question, responses."""

    group_size: int
    image_tokens: float
    text_tokens: float
    lengths: Lengths
    hows: tuple[str, ...]
    """How each is known."""

    @property
    def prompt_tokens(self) -> float:
        """Image and text."""
        return self.image_tokens + self.text_tokens

    @property
    def response_tokens(self) -> float:
        """All responses together, on average."""
        return self.group_size * self.lengths.mean

    @property
    def group_tokens(self) -> float:
        """What a sighted pass works on: the prompt once for all responses."""
        return self.prompt_tokens + self.response_tokens

    def text_flops(self, shape: ModelShape, prompt: float, num_responses: float) -> float:
        """Forward pass of the text model over a prompt and that many responses to it."""
        own = prompt**2 / 2 + num_responses * self.lengths.square / 2
        pairs = own + prompt * num_responses * self.lengths.mean
        tokens = prompt + num_responses * self.lengths.mean
        return tokens * shape.token_flops + pairs * shape.pair_flops

    def tower_flops(self, shape: ModelShape) -> float:
        """Forward pass of the tower over the group's image."""
        return shape.image_flops(self.image_tokens)

    def output_flops(self, shape: ModelShape) -> float:
        """One pass of the output layer over all response tokens."""
        return self.response_tokens * shape.target_flops

    def sighted_flops(self, shape: ModelShape) -> float:
        """One forward pass over the whole group."""
        text = self.text_flops(shape, self.prompt_tokens, self.group_size)
        return text + self.tower_flops(shape) + self.output_flops(shape)

    def scoring_flops(self, shape: ModelShape, config: RunConfig) -> float:
        """All passes of a scorer over the group, as the shaper asks for them."""
        algorithm = config.algorithm
        sighted, name = self.sighted_flops(shape), algorithm.shaper.name
        flops = sighted * (1 + (algorithm.kl_coef > 0))
        if name in MASKED_PER_RESPONSE:
            alone = self.text_flops(shape, self.prompt_tokens, 1) + self.tower_flops(shape)
            flops += self.group_size * alone + self.output_flops(shape)
        blind = name not in SIGHTED_ONLY | MASKED_PER_RESPONSE
        if blind or algorithm.dependency.measure == "always":
            flops += self.text_flops(shape, self.text_tokens, self.group_size) + self.output_flops(shape)
        return flops

    def learning_flops(self, shape: ModelShape, config: RunConfig) -> float:
        """Forward and backward passes of the learner over the group, recomputed activations included."""
        frozen = config.model.lora.rank > 0  # no gradient of weights: a backward pass is one, not two
        through = 3 - frozen + config.learner.activation_checkpointing
        tower = through if config.model.train_vision_tower and not frozen else 1
        text = self.text_flops(shape, self.prompt_tokens, self.group_size)
        # The output layer's backward computes its slices of logits again.
        once = through * text + tower * self.tower_flops(shape) + (4 - frozen) * self.output_flops(shape)
        return once * num_passes(config)


def num_passes(config: RunConfig) -> int:
    """Passes with gradient of each micro-batch: papo looks at a masked image, too."""
    return 2 if config.algorithm.shaper.name == "papo" else 1


def workload(config: RunConfig, shape: ModelShape, stated: StatedTokens) -> Workload:
    """Return a group's tokens."""
    generation = config.generation
    most = generation.max_response_tokens
    response = RESPONSE_SHARE * most if stated.response is None else stated.response
    pixels = config.model.max_pixels or _DEFAULT_PIXELS
    largest = pixels / shape.tower.pixels_per_token * config.model.max_images_per_prompt
    image = largest if stated.image is None else stated.image
    text = TEXT_TOKENS if stated.text is None else stated.text
    lengths = response_lengths(response, most, generation.group_size)
    by = {
        True: "stated",
        False: f"taken to be a quarter of generation.max_response_tokens ({most}); --response-tokens",
    }
    return Workload(
        group_size=generation.group_size,
        image_tokens=image,
        text_tokens=text,
        lengths=lengths,
        hows=(
            f"responses of {lengths.mean:,.0f} tokens ({by[stated.response is not None]}), the longest of "
            f"{generation.group_size} {lengths.longest:,.0f}",
            f"images of {image:,.0f} tokens "
            + ("(stated)" if stated.image is not None else f"(at most: {pixels:,} pixels; --image-tokens)"),
            f"questions of {text:,.0f} tokens "
            + ("(stated)" if stated.text is not None else "(taken to be so; --text-tokens)"),
        ),
    )
