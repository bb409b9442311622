"""Dashboard: what died, hung, was lost or refused, and what is filling up."""

from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics import resource_metrics as resources
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.dashboards import foreign
from pgpo_async.metrics.dashboards.panel import (
    RUNS,
    Dashboard,
    Panel,
    Query,
    Row,
    Threshold,
    curves,
    used_share,
)
from pgpo_async.metrics.metric import Metric
from pgpo_async.metrics.promql import share

SINCE_LAST = "How many since the point before."

RESTARTS = Panel(
    title="Restarts",
    unit="none",
    width=6,
    note=SINCE_LAST,
    least=0.0,
    queries=curves("{{role}}", RUNS.increase(health.RESTARTS, "role")),
)
SILENCE = Panel(
    title="Silence",
    unit="s",
    width=6,
    least=0.0,
    threshold=Threshold(value=limits.SILENCE_S),
    queries=curves("{{role}}", RUNS.now(health.SILENCE, "role")),
)
QUARANTINE = Panel(
    title="Quarantined prompts",
    unit="percentunit",
    width=6,
    note="Share of the prompts drawn.",
    least=0.0,
    most=1.0,
    threshold=Threshold(value=limits.QUARANTINED_SHARE),
    queries=curves(
        "quarantined",
        share(RUNS.rate(pipeline.PROMPTS, end="quarantined"), RUNS.rate(pipeline.PROMPTS, end="drawn")),
    ),
)


def filling(title: str, metric: Metric, limit: float) -> Panel:
    """How full something is, with its alert's threshold."""
    return Panel(
        title=title,
        unit="percentunit",
        width=6,
        least=0.0,
        most=1.0,
        threshold=Threshold(value=limit),
        queries=curves("used", used_share(metric)),
    )


def _events(title: str, *queries: tuple[str, str]) -> Panel:
    return Panel(
        title=title,
        unit="none",
        width=6,
        note=SINCE_LAST,
        least=0.0,
        queries=tuple(Query(expr=expr, legend=legend) for legend, expr in queries),
    )


DASHBOARD = Dashboard(
    name="health",
    title="Health",
    about="What died, hung, was lost or refused, and what is filling up.",
    rows=(
        Row(
            title="Actors",
            height=7,
            panels=(
                Panel(
                    title="Alerts",
                    unit="none",
                    width=6,
                    least=0.0,
                    stacked=True,
                    empty="none",
                    queries=curves(
                        "{{alertname}} {{alertstate}}", RUNS.now(foreign.ALERTS, "alertname", "alertstate")
                    ),
                ),
                Panel(
                    title="Actors too few",
                    unit="none",
                    width=6,
                    note="Wanted, less those at work or waiting for it.",
                    least=0.0,
                    queries=curves(
                        "{{role}}",
                        f"{RUNS.now(pipeline.ACTORS_WANTED, 'role')} - "
                        f"{RUNS.now(pipeline.ACTORS, 'role', how='sum', doing='working|waiting')}",
                    ),
                ),
                SILENCE,
                RESTARTS,
            ),
        ),
        Row(
            title="Lost or refused",
            height=7,
            panels=(
                QUARANTINE,
                _events("Quarantined by reason", ("{{reason}}", RUNS.increase(health.QUARANTINED, "reason"))),
                _events("Waits in vain", ("{{what}}", RUNS.increase(health.TIMEOUTS, "what"))),
                _events("Leases lost", ("leases", RUNS.increase(health.LEASES_LOST))),
            ),
        ),
        Row(
            title="Done again, or not kept",
            height=7,
            panels=(
                _events(
                    "Steps skipped or undone",
                    ("skipped", RUNS.increase(health.SKIPPED)),
                    ("rolled back", RUNS.increase(health.ROLLED_BACK)),
                ),
                Panel(
                    title="Steps since the last checkpoint",
                    unit="none",
                    width=6,
                    least=0.0,
                    queries=curves("steps", f"{RUNS.now(pipeline.STEP)} - {RUNS.now(health.CHECKPOINT)}"),
                ),
                _events(
                    "Warnings and failed writes",
                    ("warnings", RUNS.increase(health.WARNINGS)),
                    ("failed writes", RUNS.increase(health.WRITE_FAILURES)),
                ),
                Panel(
                    title="Since the last look",
                    unit="s",
                    width=6,
                    least=0.0,
                    threshold=Threshold(value=limits.UNSEEN_S),
                    queries=curves("unseen", f"time() - {RUNS.now(health.OBSERVED)}"),
                ),
            ),
        ),
        Row(
            title="Filling up",
            height=7,
            panels=(
                filling("Disk", resources.DISK, limits.DISK_SHARE),
                filling("Ray's object store", resources.OBJECT_STORE, limits.OBJECT_STORE_SHARE),
                filling("Shared memory", resources.SHARED_MEMORY, limits.SHARED_MEMORY_SHARE),
                filling("Open files", resources.OPEN_FILES, limits.OPEN_FILES_SHARE),
            ),
        ),
        Row(
            title="Memory",
            height=7,
            panels=(
                Panel(
                    title="Resident memory by role",
                    unit="bytes",
                    width=12,
                    least=0.0,
                    stacked=True,
                    queries=curves("{{role}}", RUNS.now(resources.RESIDENT, "role")),
                ),
                Panel(
                    title="Queue bytes of their limit",
                    unit="percentunit",
                    width=12,
                    least=0.0,
                    most=1.0,
                    threshold=Threshold(value=limits.QUEUE_FULL_SHARE),
                    queries=curves(
                        "held",
                        f"{RUNS.now(pipeline.QUEUE_BYTES, kind='held')} / "
                        f"{RUNS.now(pipeline.QUEUE_BYTES, kind='limit')}",
                    ),
                ),
            ),
        ),
    ),
)
