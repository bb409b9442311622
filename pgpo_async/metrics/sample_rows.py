"""Sampled groups as rows of a table, for trackers that show one: prompt, image, response, reward by part."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from pgpo_async.contracts import ScoredGroup, decode
from pgpo_async.policy.decoding import decode_image

THUMBNAIL_PIXELS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRow:
    """One response. `image` is the prompt's first, None without one or where it does not decode."""

    group_id: str
    question: str
    reference: str
    image: Image.Image | None
    response: str
    reward: float
    reward_parts: Mapping[str, float]


def sample_rows(payloads: Sequence[bytes]) -> Iterator[SampleRow]:
    """Every response of encoded groups."""
    for payload in payloads:
        item = decode(payload)
        group = item.group if isinstance(item, ScoredGroup) else item
        image = thumbnail(group.prompt.images[0]) if group.prompt.images else None
        for rollout in group.rollouts:
            yield SampleRow(
                group_id=group.group_id,
                question=group.prompt.question,
                reference=group.prompt.answer,
                image=image,
                response=rollout.text,
                reward=rollout.reward,
                reward_parts=rollout.reward_parts,
            )


def thumbnail(data: bytes) -> Image.Image | None:
    """A small RGB picture of encoded bytes; they passed the run's own limits when they were read."""
    try:
        image = decode_image(data)
    except ValueError:
        return None
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    return image
