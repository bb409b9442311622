"""MathVerse as published (`AI4Math/MathVerse`, testmini): each problem in five versions, with ever less text.

Columns, by the data set's card: `sample_index`, `problem_index`, `problem_version`, `question` (its choices
inside), `image`, `answer`, `question_type` ("multi-choice" or "free-form"), `metadata`, and ready-made
prompts, which are not read. "Vision Only" has no question: it is in the picture. The tables of PAPO, VPPO and
PGPO count the 2,180 rows of the 3,940 that have choices, whose answers need no judge. Their MathVerse-V
has the 1,308 of these whose question needs the picture: the three "Vision" versions.
"""

from dataclasses import replace

from pgpo_async.data.importing.layouts import label, row_id, text_of
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow

IN_THE_PICTURE = "Read the question in the image and answer it."
CHOICE_IN_THE_PICTURE = (
    "Read the question and its choices in the image, and answer with the right choice's letter."
)


VISION_VERSIONS = frozenset({"Vision Intensive", "Vision Dominant", "Vision Only"})


def _convert_vision(row: PublishedRow) -> SetRow:
    found = _convert(row)
    return found if found.category in VISION_VERSIONS else replace(found, not_in_tables="text_version")


def _convert(row: PublishedRow) -> SetRow:
    has_choices = text_of(row, "question_type") == "multi-choice"
    question = (label(row.values["question"]) or "").strip()
    return SetRow(
        row_id=row_id(row, "sample_index"),
        images=[row.values["image"]],
        problem=question or (CHOICE_IN_THE_PICTURE if has_choices else IN_THE_PICTURE),
        answer=row.values["answer"],
        category=label(row.values["problem_version"]),
        not_in_tables=None if has_choices else "free_form_answer",
    )


_COLUMNS = ("problem_version", "question", "image", "answer", "question_type")

LAYOUT = Layout(name="MathVerse", columns=_COLUMNS, convert=_convert)
VISION = Layout(name="MathVerse-V", columns=_COLUMNS, convert=_convert_vision)
