"""Dashboard: generators and their engines, with vLLM's own series where they are exported."""

from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics import resource_metrics as resources
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.dashboards import foreign
from pgpo_async.metrics.dashboards.panel import (
    ENGINES,
    RUNS,
    Dashboard,
    Panel,
    Query,
    Row,
    Threshold,
    Unit,
    curves,
    held_of_limit,
    in_width,
    used_share,
)
from pgpo_async.metrics.dashboards.pipeline import PAUSES, TOKENS
from pgpo_async.metrics.promql import share

ALL_RUNS = "vLLM's own, of all runs: its series do not say of which they are."


def _engine(title: str, unit: Unit, *queries: tuple[str, str], most: float | None = None) -> Panel:
    return Panel(
        title=title,
        unit=unit,
        width=6,
        note=ALL_RUNS,
        least=0.0,
        most=most,
        queries=tuple(Query(expr=expr, legend=legend) for legend, expr in queries),
    )


def _spread(title: str, histogram: foreign.Foreign, unit: Unit = "s") -> Panel:
    quantiles = {"median": 0.5, "95 %": 0.95}
    return _engine(title, unit, *((name, ENGINES.quantile(at, histogram)) for name, at in quantiles.items()))


DASHBOARD = Dashboard(
    name="generators",
    title="Generators and engines",
    about="What the generators do, how full their engines are, and what vLLM says of itself.",
    rows=(
        Row(
            title="Generators",
            height=7,
            panels=(
                Panel(
                    title="Generators by what they are at",
                    unit="none",
                    width=6,
                    least=0.0,
                    stacked=True,
                    queries=(
                        Query(expr=RUNS.now(pipeline.ACTORS, "doing", role="generator"), legend="{{doing}}"),
                        Query(
                            expr=RUNS.now(pipeline.ACTORS_WANTED, role="generator"),
                            legend="wanted",
                            limit=True,
                        ),
                    ),
                ),
                Panel(
                    title="Busy share",
                    unit="percentunit",
                    width=6,
                    least=0.0,
                    most=1.0,
                    queries=curves("busy", RUNS.rate(pipeline.BUSY, stage="generate")),
                ),
                TOKENS,
                Panel(
                    title="Silence",
                    unit="s",
                    width=6,
                    least=0.0,
                    threshold=Threshold(value=limits.SILENCE_S),
                    queries=curves("longest", RUNS.now(health.SILENCE, role="generator")),
                ),
            ),
        ),
        Row(
            title="Engines",
            height=7,
            panels=(
                Panel(
                    title="Prompts in flight",
                    unit="none",
                    width=6,
                    least=0.0,
                    queries=held_of_limit(pipeline.IN_FLIGHT),
                ),
                Panel(
                    title="Key-value cache in use",
                    unit="percentunit",
                    width=6,
                    least=0.0,
                    most=1.0,
                    queries=curves("fullest engine", RUNS.now(pipeline.CACHE)),
                ),
                Panel(
                    title="Requests that wait",
                    unit="none",
                    width=6,
                    least=0.0,
                    queries=curves("waiting", RUNS.now(pipeline.ENGINE_WAITING)),
                ),
                Panel(
                    title="Preemptions per second",
                    unit="short",
                    width=6,
                    least=0.0,
                    queries=curves("preempted", RUNS.rate(pipeline.PREEMPTIONS)),
                ),
            ),
        ),
        Row(
            title="New weights",
            height=7,
            panels=(
                PAUSES,
                Panel(
                    title="Versions behind",
                    unit="none",
                    width=6,
                    least=0.0,
                    queries=curves(
                        "oldest generator",
                        f"{RUNS.now(pipeline.VERSION, at='learner')} - "
                        f"{RUNS.now(pipeline.VERSION, at='generator')}",
                    ),
                ),
                Panel(
                    title="Groups stopped as too old",
                    unit="short",
                    width=6,
                    note="Per second.",
                    least=0.0,
                    queries=curves("cancelled", RUNS.rate(pipeline.CANCELLED)),
                ),
                Panel(
                    title="Trained responses of several versions",
                    unit="short",
                    width=6,
                    note="Per second of the steps.",
                    least=0.0,
                    queries=curves(
                        "mixed",
                        share(RUNS.rate(pipeline.MIXED), RUNS.rate(pipeline.STEP_TIME, of="sum")),
                    ),
                ),
            ),
        ),
        Row(
            title="Memory and devices",
            height=7,
            panels=(
                Panel(
                    title="Resident memory",
                    unit="bytes",
                    width=8,
                    least=0.0,
                    queries=curves("generators", RUNS.now(resources.RESIDENT, role="generator")),
                ),
                Panel(
                    title="GPU memory",
                    unit="percentunit",
                    width=8,
                    least=0.0,
                    most=1.0,
                    queries=curves("{{role}}", used_share(resources.GPU_MEMORY, "role")),
                ),
                Panel(
                    title="GPU use",
                    unit="percentunit",
                    width=8,
                    least=0.0,
                    most=1.0,
                    queries=curves("{{role}}", RUNS.now(resources.GPU_USE, "role")),
                ),
            ),
        ),
        Row(
            title="vLLM's own: load (metrics.engine)",
            height=7,
            panels=(
                _engine(
                    "Requests in the engines",
                    "none",
                    ("running", ENGINES.now(foreign.RUNNING, how="sum")),
                    ("waiting", ENGINES.now(foreign.WAITING, how="sum")),
                ),
                _engine(
                    "Cache of the engines",
                    "percentunit",
                    ("fullest", ENGINES.now(foreign.CACHE_USE)),
                    ("mean", ENGINES.now(foreign.CACHE_USE, how="avg")),
                    most=1.0,
                ),
                _engine(
                    "Tokens per second",
                    "short",
                    ("read", ENGINES.rate(foreign.PROMPT_TOKENS)),
                    ("sampled", ENGINES.rate(foreign.RESPONSE_TOKENS)),
                ),
                _spread("Tokens in a step of an engine", foreign.BATCH_TOKENS, "short"),
            ),
        ),
        Row(
            title="vLLM's own: caches and ends (metrics.engine)",
            height=7,
            panels=(
                _engine(
                    "Found in the prefix cache",
                    "percentunit",
                    ("share", share(ENGINES.rate(foreign.PREFIX_HITS), ENGINES.rate(foreign.PREFIX_QUERIES))),
                    most=1.0,
                ),
                _engine(
                    "Found in the image cache",
                    "percentunit",
                    ("share", share(ENGINES.rate(foreign.IMAGE_HITS), ENGINES.rate(foreign.IMAGE_QUERIES))),
                    most=1.0,
                ),
                _engine(
                    "Requests ended per second",
                    "short",
                    ("{{finished_reason}}", ENGINES.rate(foreign.FINISHED, "finished_reason")),
                ),
                _engine("Preempted per second", "short", ("preempted", ENGINES.rate(foreign.PREEMPTED))),
            ),
        ),
        Row(
            title="vLLM's own: times (metrics.engine)",
            height=7,
            panels=tuple(
                in_width(_spread(title, histogram), 4)
                for title, histogram in (
                    ("Request", foreign.LATENCY),
                    ("Wait for a place", foreign.QUEUED),
                    ("Reading the prompt", foreign.PREFILL),
                    ("First token", foreign.FIRST_TOKEN),
                    ("Between two tokens", foreign.TOKEN_GAP),
                    ("Sampling", foreign.DECODE),
                )
            ),
        ),
    ),
)
