"""MMK12 as published (`FanqingM/MMK12`): school exams; the test split has 2,000 questions with choices.

Columns, as its readers list them: `id`, `question` (choices inside; `<image>` in the training split),
`answer`, `subject` (math, physics, chemistry, biology), `image`. PAPO's and VPPO's copies of the test split
are of the layout *ready*.
"""

from pgpo_async.data.importing.layouts import label, row_id, text_of
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow


def _convert(row: PublishedRow) -> SetRow:
    return SetRow(
        row_id=row_id(row, "id"),
        images=[row.values["image"]],
        problem=text_of(row, "question"),
        answer=row.values["answer"],
        category=label(row.values.get("subject")),
    )


LAYOUT = Layout(name="MMK12", columns=("question", "answer", "image"), convert=_convert)
