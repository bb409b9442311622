r"""ViRL39K as first published (`TIGER-Lab/ViRL39K`): Parquet with paths of pictures in its `images` folder.

Columns, by the data set's card: `question` with `<image>` markers, `answer` in `\boxed{}` (which the accuracy
reward reads), `qid`, `image` (a list of paths), `category`, pass rates. PAPO's and VPPO's copies
(`PAPOGalaxy/PAPO_ViRL39K_train`), which the paper trains on, are of the layout *ready*: `images`, `problem`,
`answer`, newer ones with `id`.
"""

from pgpo_async.data.importing.layouts import label, listed, row_id, text_of
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow


def _convert(row: PublishedRow) -> SetRow:
    images = listed(row.values["image"])
    return SetRow(
        row_id=row_id(row, "qid"),
        images=images,
        problem=text_of(row, "question"),
        answer=row.values["answer"],
        category=label(row.values.get("category")),
    )


LAYOUT = Layout(name="ViRL39K", columns=("question", "answer", "image", "qid"), convert=_convert)
