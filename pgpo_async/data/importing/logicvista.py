"""LogicVista as published on the Hub (`lscpku/LogicVista`): logical reasoning, choices inside the question.

Columns, as its readers list them: `id`, `question`, `answer` (a letter, or several: "A, C"), `reasoning`,
`image`, `skill`, `broad_capability`, `specific_capability`, `imagesource`. The first release (a JSON object
of rows by id, with `imagename`) is read, too, where its `images` folder lies beside the file.
"""

from pgpo_async.data.importing.layouts import label, row_id, text_of
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow


def _convert(row: PublishedRow) -> SetRow:
    return _row(row, row.values["image"])


def _convert_first_release(row: PublishedRow) -> SetRow:
    return _row(row, f"images/{text_of(row, 'imagename')}")


def _row(row: PublishedRow, image: object) -> SetRow:
    return SetRow(
        row_id=row_id(row, "id"),
        images=[image],
        problem=text_of(row, "question"),
        answer=row.values["answer"],
        category=label(row.values.get("skill")),
    )


LAYOUT = Layout(name="LogicVista", columns=("question", "answer", "image"), convert=_convert)
FIRST_RELEASE = Layout(
    name="LogicVista, first release",
    columns=("imagename", "question", "answer"),
    convert=_convert_first_release,
)
