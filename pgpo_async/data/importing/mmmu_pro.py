"""MMMU-Pro as published (`MMMU/MMMU_Pro`): the question in the picture, or as text with up to seven pictures.

Columns, by the data set's card. Subset `vision`, which the tables of PAPO, VPPO and PGPO count: `id`,
`image`, `options` (the text of a Python list), `answer` (a letter), `subject`. Subsets `standard (10
options)` and `standard (4 options)`: `id`, `question` and `options`, both with markers like `<image 1>`,
`image_1` to `image_7`, `answer`, `subject`, and more.
"""

from pgpo_async.data.importing.layouts import label, row_id, text_of
from pgpo_async.data.importing.mathverse import CHOICE_IN_THE_PICTURE
from pgpo_async.data.importing.placing import letter_of, listed_choices, numbered_images, with_choices
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow

MAX_IMAGES = 7


def _convert_vision(row: PublishedRow) -> SetRow:
    choices = listed_choices(row.values["options"])
    return SetRow(
        row_id=row_id(row, "id"),
        images=[row.values["image"]],
        problem=CHOICE_IN_THE_PICTURE,
        answer=letter_of(row.values["answer"], choices),
        category=label(row.values.get("subject")),
        choices=choices,
    )


def _convert_standard(row: PublishedRow) -> SetRow:
    choices = listed_choices(row.values["options"])
    entries = [row.values.get(f"image_{number}") for number in range(1, MAX_IMAGES + 1)]
    images = [entry for entry in entries if entry is not None]
    problem, placed = numbered_images(with_choices(text_of(row, "question"), choices), images)
    return SetRow(
        row_id=row_id(row, "id"),
        images=placed,
        problem=problem,
        answer=letter_of(row.values["answer"], choices),
        category=label(row.values.get("subject")),
        choices=choices,
    )


STANDARD = Layout(
    name="MMMU-Pro, standard", columns=("question", "options", "image_1", "answer"), convert=_convert_standard
)
VISION = Layout(name="MMMU-Pro, vision", columns=("image", "options", "answer"), convert=_convert_vision)
