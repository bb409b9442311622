"""MathVision as published (`MathLLMs/MathVision`): competition problems, some with choices.

Columns, by the data set's card: `id`, `question` with `<image1>` markers, `options` (a list, empty where the
answer is free; the letters alone where the choices are in the picture), `image` (a path in its repository),
`decoded_image`, `answer` (the letter of a choice), `solution`, `level`, `subject`.
"""

from pgpo_async.data.importing.layouts import label, row_id, text_of
from pgpo_async.data.importing.placing import letter_of, listed_choices, numbered_images, with_choices
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow


def _convert(row: PublishedRow) -> SetRow:
    choices = listed_choices(row.values["options"])
    question = text_of(row, "question")
    problem, images = numbered_images(
        with_choices(question, choices) if choices else question, [row.values["decoded_image"]]
    )
    return SetRow(
        row_id=row_id(row, "id"),
        images=images,
        problem=problem,
        answer=letter_of(row.values["answer"], choices),
        category=label(row.values.get("subject")),
        choices=choices or None,
    )


LAYOUT = Layout(
    name="MathVision", columns=("question", "options", "decoded_image", "answer"), convert=_convert
)
