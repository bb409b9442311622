"""The layouts that several sets share: one that is ready for training, and the evaluation packs' chats.

*Ready*: `images`, `problem`, `answer`, maybe `id`, as Geometry3K of the Hub (`hiyouga/geometry3k`) and the
training sets of PAPO and VPPO are published. *Chat pack*: `messages` of a user and an assistant, and
`images`, paths that begin with `./data/images/`; the evaluation packs of PAPO and VPPO
(`PAPO-Galaxy/PAPO_eval`, `chamber111/VPPO-Eval`) are JSON files of such rows, with an instruction behind each
question. The config has its own (`data.instruction`), so that one goes.
"""

from collections.abc import Mapping
from typing import Any

from pgpo_async.data.image_files import Unusable, shown
from pgpo_async.data.importing.set_types import Layout, PublishedRow, SetRow

_INSTRUCTION = "You first think through the reasoning process as an internal monologue"
_USER, _ASSISTANT = ("user", "human"), ("assistant", "gpt")


def listed(value: object) -> list[object]:
    """Return a list as it is, None as an empty one, anything else as a list of one."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def label(value: object) -> str | None:
    """Return a label as text; several are joined, None stays."""
    names = [str(part).strip() for part in listed(value)]
    return ", ".join(name for name in names if name) or None


def row_id(row: PublishedRow, column: str) -> str:
    """Return the published id, or file and number where there is none."""
    return label(row.values.get(column)) or f"{row.origin}-{row.number}"


def text_of(row: PublishedRow, column: str) -> str:
    """Return a text. Raises Unusable if it is none."""
    value = row.values.get(column)
    if not isinstance(value, str):
        raise Unusable(f"{column} must be a text, got {shown(value)}", "unreadable_row")
    return value


def _ready(row: PublishedRow) -> SetRow:
    images = listed(row.values["images"])
    return SetRow(
        row_id=row_id(row, "id"),
        images=images,
        problem=text_of(row, "problem"),
        answer=row.values["answer"],
        category=label(row.values.get("category")),
    )


def _chat_pack(row: PublishedRow) -> SetRow:
    images = [_inside_pack(entry) for entry in listed(row.values["images"])]
    question = _said(row.values["messages"], _USER)
    return SetRow(
        row_id=row_id(row, "id"),
        images=images,
        problem=_without_instruction(question),
        answer=_said(row.values["messages"], _ASSISTANT),
    )


def _said(messages: object, roles: tuple[str, ...]) -> str:
    for turn in listed(messages):
        if isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in roles:
            return _content(turn)
    raise Unusable(f"messages must hold a turn of {roles[0]}, got {shown(messages)}", "unreadable_row")


def _content(turn: Mapping[str, Any]) -> str:
    content = turn.get("content", turn.get("value"))
    if not isinstance(content, str):
        raise Unusable(f"a turn's content must be a text, got {shown(content)}", "unreadable_row")
    return content


def _without_instruction(question: str) -> str:
    before, instruction, _ = question.rpartition(_INSTRUCTION)
    return (before if instruction else question).strip()


def _inside_pack(entry: object) -> object:
    return entry.removeprefix("./").removeprefix("data/") if isinstance(entry, str) else entry


READY = Layout(name="ready", columns=("images", "problem", "answer"), convert=_ready)
CHAT_PACK = Layout(name="chat pack", columns=("messages", "images"), convert=_chat_pack)
