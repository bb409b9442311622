"""We-Math as published (`We-Math/We-Math`, testmini): problems, and their steps as rows of their own.

Columns, by its card and its readers: `ID` (a problem's, the same for its steps), `split`, `knowledge
concept`, `question`, `option` ("A. 12; B. 24; ..."), `answer` (a letter), `image_path` (the picture itself),
`key` ("2steps_1", "3steps_multi", ...), `question number`, `knowledge concept description`. Its strict and
loose scores look at a problem with its steps: they have one `group`, and `category` says which step a row is.
"""

from pgpo_async.data.importing.layouts import label, row_id, text_of
from pgpo_async.data.importing.placing import split_choices, with_choices
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow


def _convert(row: PublishedRow) -> SetRow:
    problem_id, key = row_id(row, "ID"), label(row.values["key"])
    question, option = text_of(row, "question"), text_of(row, "option")
    choices = split_choices(option)
    return SetRow(
        row_id=f"{problem_id}-{key}" if key else problem_id,
        images=[row.values["image_path"]],
        problem=with_choices(question, choices) if choices else f"{question.rstrip()}\n{option}".strip(),
        answer=row.values["answer"],
        category=key,
        choices=choices,
        group=problem_id,
    )


LAYOUT = Layout(
    name="We-Math", columns=("ID", "question", "option", "answer", "image_path", "key"), convert=_convert
)
