"""How a job's status looks in a terminal. Pure: what it shows is `status_reader`'s."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pgpo_async.orchestration.status_reader import Status

COLOURS = {"working": "green", "waiting": "yellow", "starting": "cyan", "silent": "bold red"}
_STATES = {
    "running": ("running", "green"),
    "late": ("its driver does not answer", "bold red"),
    "starting": ("starting", "cyan"),
    "ended": ("ended", "dim"),
}


def render(status: Status) -> RenderableType:
    """Return the whole view."""
    parts: list[RenderableType] = [_head(status)]
    parts += [Text(line, style="bold red") for line in status.stuck]
    live = status.live
    if status.state == "ended":
        parts += [_summary(status)]
    elif live:
        parts += [_driver(status), _actors(live), _queue(live)]
    if status.steps:
        parts += [_steps(status)]
    if status.events:
        parts += [_events(status)]
    return Group(*parts)


def _head(status: Status) -> Text:
    live = status.live
    state, style = _STATES[status.state]
    text = Text.assemble((status.run.name, "bold"), "  ", (state, style))
    if live:
        text.append(f"  step {live['step']} of {live['num_steps']}")
        rest_s = _rest_s(status)
        if rest_s is not None and status.state == "running":
            text.append(f", about {_duration(rest_s)} to go")
        if live["metrics_urls"] and status.state != "ended":
            text.append(f"  {live['metrics_urls'][0]}", style="dim")
    return text


def _rest_s(status: Status) -> float | None:
    times = [step["step_s"] for step in status.steps if step.get("step_s")]
    if not times:
        return None
    return float(sum(times) / len(times) * (status.live["num_steps"] - status.live["step"]))


def _driver(status: Status) -> Text:
    driver = status.live["driver"]
    doing_s = driver["doing_for_s"] + status.age_s
    busy = "  ".join(f"{stage} {share:.0%}" for stage, share in sorted(status.live["busy"].items()))
    restarts = {role: num for role, num in status.live["restarts"].items() if num}
    text = Text(f"driver: {driver['doing']} (for {doing_s:.0f} s)")
    text.append(f"\nbusy in the last half minute: {busy or 'not known yet'}")
    if restarts:
        text.append(
            "\nreplaced: " + ", ".join(f"{num} {role}" for role, num in restarts.items()), style="yellow"
        )
    return text


def _actors(live: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, justify in (("actor", "left"), ("", "left"), ("doing", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for name in ("version", "done", "memory"):
        table.add_column(name, justify="right")
    for actor in live["actors"]:
        memory = "" if actor["rss_bytes"] is None else f"{actor['rss_bytes'] / 2**20:,.0f} MiB"
        table.add_row(
            actor["name"],
            Text(actor["state"], style=COLOURS[actor["state"]]),
            escape(actor["doing"]),
            *("" if value is None else f"{value:,}" for value in (actor["version"], actor["num_done"])),
            memory,
        )
    return table


def _queue(live: Mapping[str, Any]) -> Text:
    queue = live["queue"]
    if queue is None:
        return Text("the queue has not answered yet", style="dim")
    depth = ", ".join(f"{num} {state}" for state, num in queue["depth"].items())
    books = ", ".join(f"{num} {name}" for name, num in queue["accounting"].items())
    lags = ", ".join(f"{lag}: {num}" for lag, num in queue["lag_histogram"].items()) or "none trained yet"
    text = Text(
        f"queue: {depth}; {queue['bytes'] / 2**20:,.1f} MiB; {queue['slots_held']} of {queue['slots']} slots"
    )
    text.append(f"\nprompts: {books}")
    if not queue["balanced"]:
        text.append("  DOES NOT ADD UP", style="bold red")
    text.append(f"\nlag (at most {live['max_lag']}): {lags}")
    for side, what in queue["waiting"].items():
        text.append(f"\n{side} waits for {what}", style="yellow")
    for reason, num in queue["quarantined_by_reason"].items():
        text.append(f"\nquarantined: {num} {reason}", style="yellow")
    return text


def _steps(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    columns = {
        "step": ("step", "{:.0f}"),
        "reward": ("reward", "{:.3f}"),
        "accuracy": ("accuracy", "{:.3f}"),
        "learner/loss": ("loss", "{:+.4f}"),
        "learner/grad_norm": ("grad norm", "{:.3f}"),
        "learner/entropy": ("entropy", "{:.3f}"),
        "learner/dependency_mean": ("dependency", "{:.3f}"),
        "lag_mean": ("lag", "{:.1f}"),
        "step_s": ("step time", "{:.2f} s"),
        "learner_wait_s": ("of it waiting", "{:.2f} s"),
    }
    for title, _ in columns.values():
        table.add_column(title, justify="right")
    for step in status.steps:
        values = [(step.get(key), form) for key, (_, form) in columns.items()]
        table.add_row(*("-" if value is None else form.format(value) for value, form in values))
    return table


def _events(status: Status) -> Text:
    lines = []
    for event in status.events:
        at = time.strftime("%H:%M:%S", time.localtime(event["time_s"]))
        lines.append(f"{at}  {event['event']}")
    return Text("\n".join(lines), style="dim")


def _summary(status: Status) -> Text:
    summary = status.summary
    if summary is None:
        return Text(
            "it left no summary: its driver was killed. `pgpo-async launch CONFIG --resume "
            f"{status.run}` goes on with it",
            style="yellow",
        )
    before, after = summary["accuracy_before"], summary["accuracy_after"]
    known = before is not None and after is not None
    accuracy = f", held-out accuracy {before:.3f} -> {after:.3f}" if known else ""
    return Text(f"{summary['status']}: {summary['steps']} steps in {_duration(summary['wall_s'])}{accuracy}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
