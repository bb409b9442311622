"""Dashboard: in one screen, does it learn, is it well, what limits it, how fast is it."""

from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import learning_metrics as learning
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics import resource_metrics as resources
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.dashboards import foreign
from pgpo_async.metrics.dashboards import health as health_page
from pgpo_async.metrics.dashboards import learning as learning_page
from pgpo_async.metrics.dashboards import pipeline as pipeline_page
from pgpo_async.metrics.dashboards.panel import (
    RUNS,
    RUNS_IN_VIEW,
    Dashboard,
    Panel,
    Query,
    Row,
    Threshold,
    curves,
    in_width,
    used_share,
)
from pgpo_async.metrics.promql import share

METHOD = Panel(
    title="Method",
    unit="none",
    width=3,
    kind="stat",
    names_only=True,
    queries=curves("{{method}}, {{version}}", RUNS.now(pipeline.RUN, "method", "version")),
)
STEP = Panel(
    title="Step",
    unit="none",
    width=2,
    kind="stat",
    queries=curves("step", RUNS.now(pipeline.STEP)),
)
DONE = Panel(
    title="Done",
    unit="percentunit",
    width=2,
    kind="stat",
    decimals=0,
    note="Of the steps wanted.",
    queries=curves("done", f"{RUNS.now(pipeline.STEP)} / {RUNS.now(pipeline.STEPS_WANTED)}"),
)
LAST_STEP = Panel(
    title="Last step",
    unit="dateTimeFromNow",
    width=3,
    kind="stat",
    queries=curves("ended", f"1000 * {RUNS.now(pipeline.STEP_ENDED)}"),
)
ACCURACY = Panel(
    title="Accuracy",
    unit="percentunit",
    width=3,
    kind="stat",
    decimals=1,
    curve=True,
    queries=curves("accuracy", RUNS.now(learning.ACCURACY)),
)
EFFICIENCY = Panel(
    title="Overlap efficiency",
    unit="percentunit",
    width=3,
    kind="stat",
    decimals=0,
    curve=True,
    queries=curves("efficiency", RUNS.now(pipeline.EFFICIENCY)),
)
QUARANTINED = Panel(
    title="Quarantined",
    unit="percentunit",
    width=2,
    kind="stat",
    decimals=1,
    note="Share of the prompts drawn in the time shown.",
    threshold=Threshold(value=limits.QUARANTINED_SHARE),
    queries=curves(
        "quarantined",
        share(
            RUNS_IN_VIEW.increase(pipeline.PROMPTS, end="quarantined"),
            RUNS_IN_VIEW.increase(pipeline.PROMPTS, end="drawn"),
        ),
    ),
)
RESTARTS = Panel(
    title="Restarts",
    unit="none",
    width=2,
    kind="stat",
    decimals=0,
    note="In the time shown.",
    threshold=Threshold(value=limits.RESTARTS),
    queries=curves("restarts", RUNS_IN_VIEW.increase(health.RESTARTS)),
)
SILENT = Panel(
    title="Silent actors",
    unit="none",
    width=2,
    kind="stat",
    threshold=Threshold(value=1),
    queries=curves("silent", RUNS.now(pipeline.ACTORS, how="sum", doing="silent")),
)
FIRING = Panel(
    title="Alerts",
    unit="none",
    width=2,
    kind="stat",
    empty="none",
    threshold=Threshold(value=1),
    queries=curves("firing", RUNS.now(foreign.ALERTS, how="sum", alertstate="firing")),
)
FULL = Panel(
    title="How full",
    unit="percentunit",
    width=6,
    least=0.0,
    most=1.0,
    queries=tuple(
        Query(expr=used_share(metric), legend=name)
        for name, metric in (
            ("disk", resources.DISK),
            ("object store", resources.OBJECT_STORE),
            ("shared memory", resources.SHARED_MEMORY),
        )
    ),
)

DASHBOARD = Dashboard(
    name="overview",
    title="Overview",
    about="Does it learn, is it well, what limits it, how fast is it. The other dashboards tell more.",
    rows=(
        Row(
            title="",
            height=3,
            panels=(
                METHOD,
                STEP,
                DONE,
                LAST_STEP,
                ACCURACY,
                EFFICIENCY,
                QUARANTINED,
                RESTARTS,
                SILENT,
                FIRING,
            ),
        ),
        Row(
            title="",
            height=6,
            panels=(
                in_width(learning_page.REWARD, 8),
                pipeline_page.BUSY,
                pipeline_page.QUEUE,
            ),
        ),
        Row(
            title="",
            height=6,
            panels=(
                in_width(learning_page.ENTROPY, 6),
                in_width(pipeline_page.LEARNER_WAIT, 6),
                in_width(pipeline_page.LAG, 6),
                in_width(pipeline_page.ENDS, 6),
            ),
        ),
        Row(
            title="",
            height=6,
            panels=(pipeline_page.TOKENS, pipeline_page.STEP_TIME, health_page.SILENCE, FULL),
        ),
    ),
)
