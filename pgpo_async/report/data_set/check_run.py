"""Looks at sources, one after another: opens, scans, compares with another. Called by `command`."""

from pathlib import Path

from pgpo_async.config import load_config
from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.data.checking.findings import Findings, Overlap
from pgpo_async.data.checking.row_facts import RowReading
from pgpo_async.data.checking.scan import scan
from pgpo_async.data.image_files import ImageRules
from pgpo_async.data.progress_line import ProgressLine
from pgpo_async.data.row_source import RowSource
from pgpo_async.data.sources import PromptSource, open_source, train_sources
from pgpo_async.report.data_set.figures import Checked
from pgpo_async.rewards.answer_kind import answer_kind

ENDLESS_ROWS = 500
"""Looked at where a source has no end."""
CACHE_BYTES = 64 << 20
"""Rows are read in their order: more than the row group at hand is of no use."""


def check_sources(
    config: RunConfig,
    *,
    with_model: bool,
    against: str | None = None,
    limit: int | None = None,
    num_processes: int = 2,
) -> list[Checked]:
    """Look at each of a config's sources to train on. Raises ConfigError if one cannot be opened."""
    sources = train_sources(config, cache_bytes=CACHE_BYTES)
    others = Overlap()
    if against is not None:
        other = open_source(
            against,
            split="heldout",
            seed=config.data.seed,
            rules=ImageRules.of(config.data, config.model),
            columns=config.data.columns,
            cache_bytes=CACHE_BYTES,
        )
        reading = _reading(other, config, with_model=False)
        num_rows = _num_rows(other, None)
        progress = ProgressLine(other.name, num_rows)
        for facts in scan(reading, num_rows, num_processes=num_processes):
            others.learn(facts)
            progress.advance()
        progress.end()
    checked = []
    for source in sources:
        overlap = None
        if against is not None:
            overlap = Overlap(images=others.images, questions=others.questions, num_rows=others.num_rows)
        reading = _reading(source, config, with_model=with_model)
        findings = _findings(reading, overlap, limit, num_processes)
        checked.append(
            Checked(
                name=source.name,
                reading=reading,
                columns=source.open().columns if isinstance(source, RowSource) else {},
                num_rows=source.num_rows,
                findings=findings,
                overlap=overlap,
                against=against or "",
            )
        )
    return checked


def config_of(
    config: Path | None,
    source: str | None,
    model: str | None,
    columns: str | None,
    max_prompt_tokens: int | None,
) -> RunConfig:
    """Return a run's config, with what the command line says in its place. Raises ConfigError."""
    if config is None and source is None:
        raise ConfigError("SOURCE must be given, or the config of a run (--config)")
    run = RunConfig() if config is None else load_config(config, ())
    data: dict[str, object] = {}
    if source is not None:
        data |= {"source": source, "sources": ()}
    if columns is not None:
        data["columns"] = _columns(columns)
    if max_prompt_tokens is not None:
        data["max_prompt_tokens"] = max_prompt_tokens
    changed = {"data": run.data.model_copy(update=data)}
    if model is not None:
        return run.model_copy(update=changed | {"model": run.model.model_copy(update={"path": model})})
    return run.model_copy(update=changed)


def _columns(text: str) -> ColumnsConfig:
    known = ", ".join(ColumnsConfig.model_fields)
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if name not in ColumnsConfig.model_fields or not equals or not column:
            raise ConfigError(
                f"--columns: must be NAME=COLUMN,... with the names {known}, got {part.strip()!r}"
            )
        found[name] = column
    return ColumnsConfig(**found)


def _reading(source: PromptSource, config: RunConfig, *, with_model: bool) -> RowReading:
    return RowReading(source=source, config=config, with_model=with_model, kind_of=answer_kind)


def _num_rows(source: PromptSource, limit: int | None) -> int:
    whole = source.num_rows
    if whole is None:
        return limit or ENDLESS_ROWS
    return whole if limit is None else min(whole, limit)


def _findings(
    reading: RowReading, overlap: Overlap | None, limit: int | None, num_processes: int
) -> Findings:
    findings = Findings()
    num_rows = _num_rows(reading.source, limit)
    progress = ProgressLine(reading.source.name, num_rows)
    for facts in scan(reading, num_rows, num_processes=num_processes):
        findings.add(facts)
        if overlap is not None:
            overlap.compare(facts)
        progress.advance()
    progress.end()
    return findings
