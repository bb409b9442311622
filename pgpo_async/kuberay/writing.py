"""From files to files: what the `k8s` commands read, and the texts that they write."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.kustomize import Files, tree
from pgpo_async.kuberay.overlays import BASE, DEFAULTS, OVERLAYS
from pgpo_async.kuberay.planned_run import PlannedRun, plan_run
from pgpo_async.kuberay.render import rendered
from pgpo_async.kuberay.settings import load_settings

DEMO = "cpu-demo"


def planned(
    config: Path, overrides: Sequence[str], overlay: str, settings: Path | None, set_: Sequence[str]
) -> PlannedRun:
    """Read a config and settings. Raises ConfigError with every issue."""
    if overlay not in OVERLAYS:
        near = difflib.get_close_matches(overlay, OVERLAYS, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--overlay: must be one of {', '.join(OVERLAYS)}, got {overlay!r}{hint}")
    return plan_run(load_config(config, overrides), load_settings(settings, set_, DEFAULTS.get(overlay, {})))


def shipped_tree(config: Path, demo: Path, settings: Path) -> Files:
    """Return the base and overlays of one run, and the overlay of the demo."""
    run = planned(config, (), BASE, settings, ())
    overlays = {name: rendered(run, name) for name in OVERLAYS if name not in (BASE, DEMO)}
    overlays[DEMO] = rendered(planned(demo, (), DEMO, None, ()), DEMO)
    return tree(rendered(run, BASE), overlays)
