"""DynaMath as published (`DynaMath/DynaMath_Sample`): 501 questions, each drawn ten times with other numbers.

Columns, by the data set's card: `id` (of the question, the same in all variants), `question` (choices
inside), `image` (a path in its repository), `decoded_image`, `ground_truth`, `answer_type` ("float",
"multiple choice" or "text"), `subject`, `knowledge_level`. The splits `sample_variant1` to `sample_variant10`
are the variants, in files `sample1-...`. Its worst-case accuracy counts a question as right where all of its
variants are: they have one `group`.
"""

import re

from pgpo_async.data.importing.layouts import label, row_id, text_of
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow

NUM_VARIANTS = 10
FLOAT_HINT = "Give the answer as a decimal number, with three decimals where it does not end before."

_VARIANT = re.compile(r"sample_?(?:variant)?([0-9]+)")


def _convert(row: PublishedRow) -> SetRow:
    question_id = row_id(row, "id")
    variant = _VARIANT.match(row.origin)
    is_float = label(row.values.get("answer_type")) == "float"
    question = text_of(row, "question").rstrip()
    return SetRow(
        row_id=f"{question_id}-{variant.group(1)}" if variant else question_id,
        images=[row.values["decoded_image"]],
        problem=f"{question}\n{FLOAT_HINT}" if is_float else question,
        answer=row.values["ground_truth"],
        category=label(row.values.get("subject")),
        group=question_id,
    )


LAYOUT = Layout(
    name="DynaMath", columns=("id", "question", "decoded_image", "ground_truth"), convert=_convert
)
