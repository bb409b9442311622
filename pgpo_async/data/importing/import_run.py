"""From a published data set to an imported file: each row checked as training would, written or counted.

Owns the order of the steps and the account of what was left out: no row is lost without its reason. Called
by `data.import_command`.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from pgpo_async.contracts import ConfigError, Prompt, PromptError
from pgpo_async.data.image_files import ImageRules, Unusable
from pgpo_async.data.importing.imported_file import Origin
from pgpo_async.data.importing.imported_writer import ImportedWriter, check_output, new_imported_file
from pgpo_async.data.importing.placing import consistent_markers
from pgpo_async.data.importing.published_rows import Part, UnreadablePart, open_published
from pgpo_async.data.importing.set_types import KnownSet, Layout, PublishedRow, SetRow
from pgpo_async.data.progress_line import ProgressLine
from pgpo_async.data.rows import prompt_from_row


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportResult:
    """What was written, what the file says of itself, and the first error of each reason."""

    path: Path
    origin: Origin
    examples: Mapping[str, str]


def import_set(
    known: KnownSet,
    source: str | None,
    output: Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    every_row: bool = False,
    force: bool = False,
) -> ImportResult:
    """Write a set's rows, at most `limit`; `every_row` takes those, too, that published tables leave out.

    Raises ConfigError if the source is not there or is laid out as none that we know, if none of its rows can
    be used, or if `output` cannot be written.
    """
    check_output(output, force=force)
    parts = open_published(source, known, split)
    layouts = [layout_of(part, known) for part in parts]
    account = _Account(every_row=every_row, limit=limit)
    progress = ProgressLine(known.title, sum(part.num_rows for part in parts))
    with new_imported_file(output) as writer:
        for part, layout in zip(parts, layouts, strict=True):
            account.read(part, layout, writer, progress)
        progress.end()
        if not writer.num_rows:
            raise ConfigError([f"{known.title}: no row could be used", *account.told()])
        origin = Origin(
            name=known.name,
            source=source or parts[0].name,
            layout=layouts[0].name,
            num_rows=writer.num_rows,
            left_out=dict(account.left_out.most_common()),
            num_renamed=writer.num_renamed,
        )
        writer.describe(origin)
    return ImportResult(path=output, origin=origin, examples=account.examples)


def layout_of(part: Part, known: KnownSet) -> Layout:
    """Return the first layout of a set whose columns a part has. Raises ConfigError with what is missing."""
    found = set(part.columns)
    missing = {layout.name: sorted(set(layout.columns) - found) for layout in known.layouts}
    for layout in known.layouts:
        if not missing[layout.name]:
            return layout
    nearest = min(known.layouts, key=lambda layout: len(missing[layout.name]) / len(layout.columns))
    wanted = "; ".join(f"{layout.name}: {', '.join(layout.columns)}" for layout in known.layouts)
    raise ConfigError(
        [
            f"{part.name} must have a column {name!r} to be read as {nearest.name}, got "
            f"{sorted(part.columns)}{_hint(name, part.columns)}"
            for name in missing[nearest.name]
        ]
        + [f"columns that {known.title} is known by: {wanted}"]
    )


def _hint(name: str, columns: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, columns, n=1)
    return f": did you mean {near[0]!r}?" if near else ""


class _Account:
    """The rows that are not written, by reason, with the first error of each."""

    def __init__(self, *, every_row: bool, limit: int | None) -> None:
        self._every_row = every_row
        self._limit = limit
        self._rules = ImageRules()
        self._num_of_origin: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def read(self, part: Part, layout: Layout, writer: ImportedWriter, progress: ProgressLine) -> None:
        for values in takewhile(lambda _: writer.num_rows != self._limit, part.rows()):
            if isinstance(values, UnreadablePart):
                self._leave(f"{part.name}: {values}", "unreadable_row", values.num_rows)
                self._num_of_origin[part.origin] += values.num_rows
                progress.advance(values.num_rows)
                continue
            number = self._num_of_origin[part.origin]
            self._num_of_origin[part.origin] += 1
            progress.advance()
            self._add(PublishedRow(values=values, origin=part.origin, number=number), part, layout, writer)

    def _add(self, published: PublishedRow, part: Part, layout: Layout, writer: ImportedWriter) -> None:
        name = f"{published.origin}/{published.number}"
        try:
            row = layout.convert(published)
            if row.not_in_tables and not self._every_row:
                self._leave(f"{name}: published tables leave it out", row.not_in_tables)
                return
            writer.add(self._prompt(row, name, part), row)
        except KeyError as error:
            self._leave(f"{name}: must have a column {error.args[0]!r}, as other rows do", "unreadable_row")
        except Unusable as error:
            self._leave(f"{name}: {error}", error.reason)
        except PromptError as error:
            self._leave(error.message, error.reason)

    def _prompt(self, row: SetRow, name: str, part: Part) -> Prompt:
        if any(entry is None for entry in row.images):
            raise Unusable("must have its image, got nothing", "no_image")
        problem = row.problem
        if isinstance(problem, str):
            problem = consistent_markers(problem, len(row.images))
        columns = {"images": list(row.images), "problem": problem, "answer": row.answer}
        folder = _folder_of(row.images, part.folders)
        return prompt_from_row(columns, prompt_id=name, index=0, folder=folder, rules=self._rules)

    def _leave(self, message: str, reason: str, num_rows: int = 1) -> None:
        self.left_out[reason] += num_rows
        self.examples.setdefault(reason, message)

    def told(self) -> list[str]:
        """Return a line for each reason."""
        return [
            f"{count:,} left out, {reason}; the first: {self.examples[reason]}"
            for reason, count in self.left_out.most_common()
        ]


def _folder_of(images: Sequence[object], folders: Sequence[Path]) -> Path:
    """Return the folder that has the first image that is a path; the likeliest one where none has."""
    for entry in images:
        path = entry.get("path") if isinstance(entry, Mapping) and entry.get("bytes") is None else entry
        if isinstance(path, str):
            return next((folder for folder in folders if (folder / path).is_file()), folders[0])
    return folders[0]
