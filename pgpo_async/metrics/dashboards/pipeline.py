"""Dashboard: how the stages work together, what limits them, how old what they work on is."""

from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.dashboards.panel import (
    RUNS,
    RUNS_TOGETHER,
    Dashboard,
    Panel,
    Query,
    Row,
    Threshold,
    curves,
    held_of_limit,
)
from pgpo_async.metrics.promql import share

STEP_SECONDS = RUNS.rate(pipeline.STEP_TIME, of="sum")
"""What is counted by steps is divided by their time: with long steps most intervals hold none."""

STEPS = Panel(
    title="Steps",
    unit="none",
    width=6,
    least=0.0,
    queries=(
        Query(expr=RUNS.now(pipeline.STEP), legend="done"),
        Query(expr=RUNS.now(pipeline.STEPS_WANTED), legend="wanted", limit=True),
    ),
)
STEP_TIME = Panel(
    title="Step time",
    unit="s",
    width=6,
    least=0.0,
    queries=(
        Query(expr=RUNS.mean(pipeline.STEP_TIME), legend="mean"),
        Query(expr=RUNS.quantile(0.5, pipeline.STEP_TIME), legend="median"),
        Query(expr=RUNS.quantile(0.95, pipeline.STEP_TIME), legend="95 %"),
    ),
)
TOKENS = Panel(
    title="Response tokens per second",
    unit="short",
    width=6,
    least=0.0,
    queries=curves(
        "{{kind}}", f"{RUNS.rate(pipeline.TOKENS, 'kind')} / on (run) group_left () ({STEP_SECONDS} > 0)"
    ),
)
STEP_RATE = Panel(
    title="Steps per hour",
    unit="short",
    width=6,
    least=0.0,
    queries=curves("steps", f"3600 * {share(RUNS.rate(pipeline.STEPS), STEP_SECONDS)}"),
)
BUSY = Panel(
    title="Busy share of each stage",
    unit="percentunit",
    width=8,
    note="The busiest stage is the one that limits the pace.",
    least=0.0,
    most=1.0,
    queries=curves("{{stage}}", RUNS.rate(pipeline.BUSY, "stage")),
)
EFFICIENCY = Panel(
    title="Overlap efficiency",
    unit="percentunit",
    width=8,
    least=0.0,
    most=1.0,
    queries=curves("efficiency", RUNS.now(pipeline.EFFICIENCY)),
)
LEARNER_WAIT = Panel(
    title="Learner wait",
    unit="percentunit",
    width=8,
    note="Share of the steps' time that the learner waited for a batch.",
    least=0.0,
    most=1.0,
    threshold=Threshold(value=limits.STARVED_SHARE),
    queries=curves("waits", share(RUNS.rate(pipeline.LEARNER_WAIT), STEP_SECONDS)),
)
QUEUE = Panel(
    title="Queue by state",
    unit="short",
    width=8,
    note="In groups.",
    least=0.0,
    stacked=True,
    queries=curves("{{state}}", RUNS.now(pipeline.GROUPS, "state")),
)
QUEUE_BYTES = Panel(
    title="Queue bytes", unit="bytes", width=6, least=0.0, queries=held_of_limit(pipeline.QUEUE_BYTES)
)
LAG = Panel(
    title="Lag",
    unit="none",
    width=8,
    note="In steps.",
    least=0.0,
    queries=(
        Query(expr=RUNS.mean(pipeline.LAG), legend="mean"),
        Query(expr=RUNS.now(pipeline.LAG_NEWEST), legend="largest"),
        Query(expr=RUNS.now(pipeline.LAG_LIMIT), legend="limit", limit=True),
    ),
)
ENDS = Panel(
    title="Where prompts end",
    unit="short",
    width=8,
    note="Prompts per second.",
    least=0.0,
    stacked=True,
    queries=curves("{{end}}", RUNS.rate(pipeline.PROMPTS, "end", end="!drawn")),
)
LEARNERS_VERSION = RUNS.now(pipeline.VERSION, at="learner")
BEHIND = Panel(
    title="Versions behind the learner",
    unit="none",
    width=6,
    note="The learner's version less the one at each other place.",
    least=0.0,
    queries=curves(
        "{{at}}",
        f"{LEARNERS_VERSION} - on (run) group_right () {RUNS.now(pipeline.VERSION, 'at', at='!learner')}",
    ),
)
PAUSES = Panel(
    title="Update pause",
    unit="s",
    width=6,
    least=0.0,
    queries=(
        Query(expr=RUNS.quantile(0.5, pipeline.PAUSE), legend="median"),
        Query(expr=RUNS.quantile(0.95, pipeline.PAUSE), legend="95 %"),
    ),
)
UPDATES = Panel(
    title="Versions loaded per second",
    unit="short",
    width=6,
    least=0.0,
    queries=curves("{{role}}", RUNS.rate(pipeline.UPDATES, "role")),
)


def _waits(side: str, who: str) -> Panel:
    return Panel(
        title=f"What {who} for",
        unit="percentunit",
        width=8,
        note="Share of the time, by what was missing.",
        least=0.0,
        most=1.0,
        stacked=True,
        queries=curves(
            "{{reason}}",
            RUNS.lately("avg", pipeline.QUEUE_WAITS, "reason", over=RUNS.window, side=side),
        ),
    )


DASHBOARD = Dashboard(
    name="pipeline",
    title="Pipeline",
    about="How generation, scoring and learning work together, and which of them limits the others.",
    rows=(
        Row(title="Pace", height=7, panels=(STEPS, STEP_TIME, STEP_RATE, TOKENS)),
        Row(title="What limits it", height=7, panels=(BUSY, LEARNER_WAIT, EFFICIENCY)),
        Row(
            title="The queue",
            height=7,
            panels=(
                QUEUE,
                QUEUE_BYTES,
                Panel(
                    title="Admission slots",
                    unit="none",
                    width=5,
                    least=0.0,
                    queries=held_of_limit(pipeline.SLOTS),
                ),
                Panel(
                    title="Prompts under way",
                    unit="none",
                    width=5,
                    least=0.0,
                    queries=curves("pending", RUNS.now(pipeline.PENDING)),
                ),
            ),
        ),
        Row(
            title="Who waits for what",
            height=7,
            panels=(
                _waits("reserve", "generators wait"),
                _waits("scoring", "scorers wait"),
                _waits("batch", "the learner waits"),
            ),
        ),
        Row(
            title="Age of what is trained",
            height=7,
            panels=(
                LAG,
                Panel(
                    title="Lag of the groups trained",
                    unit="none",
                    width=8,
                    kind="heatmap",
                    note="In steps; all chosen runs together.",
                    queries=curves("{{le}}", RUNS_TOGETHER.increase(pipeline.LAG, "le", of="bucket")),
                ),
                ENDS,
            ),
        ),
        Row(
            title="Weights",
            height=7,
            panels=(
                BEHIND,
                UPDATES,
                PAUSES,
                Panel(
                    title="Published of the weights",
                    unit="percentunit",
                    width=3,
                    least=0.0,
                    queries=curves("sent", RUNS.now(pipeline.PUBLISHED)),
                ),
                Panel(
                    title="Learner held up",
                    unit="s",
                    width=3,
                    least=0.0,
                    queries=curves("by publishing", RUNS.now(pipeline.PUBLISH_BLOCKED)),
                ),
            ),
        ),
    ),
)
