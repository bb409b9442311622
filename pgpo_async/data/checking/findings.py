"""What a check found, added up row by row: counts, distributions, what is there twice or elsewhere, too.

Owns the sums and nothing else: a few numbers and hashes a row, so that a large set fits. Called by the
command.
"""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pgpo_async.data.checking.row_facts import RowFacts

MAX_EXAMPLES = 20
PERCENTILES = (0, 50, 90, 99, 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two rows of which one repeats the other."""

    row: str
    other: str


@dataclass(kw_only=True, slots=True)
class Overlap:
    """Rows that are in another source, too: by their picture, by their words, by both."""

    images: dict[bytes, str] = field(default_factory=dict)
    questions: dict[bytes, str] = field(default_factory=dict)
    num_rows: int = 0
    num_by_image: int = 0
    num_by_question: int = 0
    num_by_both: int = 0
    examples: list[Pair] = field(default_factory=list)

    def learn(self, facts: RowFacts) -> None:
        """Remember a row of the other source."""
        self.num_rows += 1
        for key in facts.image_keys:
            self.images.setdefault(key, facts.row_name)
        if facts.question_key:
            self.questions.setdefault(facts.question_key, facts.row_name)

    def compare(self, facts: RowFacts) -> None:
        """Count a row of the source that is checked."""
        image = next((self.images[key] for key in facts.image_keys if key in self.images), None)
        question = self.questions.get(facts.question_key) if facts.question_key else None
        self.num_by_image += image is not None
        self.num_by_question += question is not None
        self.num_by_both += image is not None and question is not None
        other = image or question
        if other is not None and len(self.examples) < MAX_EXAMPLES:
            self.examples.append(Pair(row=facts.row_name, other=other))


@dataclass(kw_only=True, slots=True)
class Findings:
    """Of one source."""

    num_rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The first row and its error, by reason."""
    images_a_row: Counter[int] = field(default_factory=Counter)
    answer_kinds: Counter[str] = field(default_factory=Counter)
    widths: Any = field(default_factory=lambda: array("i"))
    heights: Any = field(default_factory=lambda: array("i"))
    prompt_tokens: Any = field(default_factory=lambda: array("i"))
    image_tokens: Any = field(default_factory=lambda: array("i"))
    num_image_bytes: int = 0
    num_duplicates: int = 0
    num_contradictions: int = 0
    """Duplicates with another answer than the first of them."""
    duplicates: list[Pair] = field(default_factory=list)
    num_rows_with_known_image: int = 0
    """Rows of which an image was in an earlier row."""
    num_distinct_images: int = 0
    _seen: dict[tuple[bytes, ...], tuple[str, str]] = field(default_factory=dict)
    _images: set[bytes] = field(default_factory=set)

    def add(self, facts: RowFacts) -> None:
        """Count a row."""
        self.num_rows += 1
        if facts.reason:
            self.reasons[facts.reason] += 1
            self.errors.setdefault(facts.reason, (facts.number, facts.error))
        if facts.num_prompt_tokens is not None:
            self.prompt_tokens.append(facts.num_prompt_tokens)
            self.image_tokens.append(facts.num_image_tokens)
        if not facts.question_key:
            return
        self.images_a_row[len(facts.sizes)] += 1
        self.answer_kinds[facts.answer_kind] += 1
        self.num_image_bytes += facts.num_image_bytes
        for width, height in facts.sizes:
            self.widths.append(width)
            self.heights.append(height)
        self._repeated(facts)

    @property
    def num_unusable(self) -> int:
        """Rows that a run would quarantine."""
        return sum(self.reasons.values())

    @property
    def num_text_only(self) -> int:
        """Readable rows without an image."""
        return self.images_a_row[0]

    def _repeated(self, facts: RowFacts) -> None:
        key = (facts.question_key, *facts.image_keys)
        first, answer = self._seen.setdefault(key, (facts.row_name, facts.answer))
        if first != facts.row_name:
            self.num_duplicates += 1
            self.num_contradictions += answer != facts.answer
            if len(self.duplicates) < MAX_EXAMPLES:
                self.duplicates.append(Pair(row=facts.row_name, other=first))
        self.num_rows_with_known_image += any(name in self._images for name in facts.image_keys)
        self._images.update(facts.image_keys)
        self.num_distinct_images = len(self._images)


def spread(values: Any) -> dict[str, float] | None:
    """Return a distribution's `min`, `median`, `p90`, `p99` and `max`; None where there is nothing."""
    if not len(values):
        return None
    found = np.percentile(np.asarray(values), PERCENTILES, method="nearest")
    return dict(zip(("min", "median", "p90", "p99", "max"), map(float, found), strict=True))
