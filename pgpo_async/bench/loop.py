"""How fast a whole run goes once it is under way: real engines, rollouts trained a second, CPU time by role.

With `peer` the same task runs in TRL's GRPO trainer on the same cores, before and after, so that a slow
moment of the machine does not decide. Called by the command line; knows no table (`loop_table`).
"""

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import psutil

from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.bench.quiet_run import mean_step_s, run_quietly
from pgpo_async.bench.report import Say
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.leftovers import processes_of
from pgpo_async.orchestration.preflight import check_inputs
from pgpo_async.orchestration.run_folder import RunFolder

WARM_UP = 8
"""First steps: the pipeline fills, caches are cold. They are run but not measured."""
SETTINGS = ("algorithm.filter.enabled=false", "evaluation.num_prompts=0", "train.save_every=0")
"""Overrides that make every group drawn a group trained, as in a trainer without a filter."""

_ROLES = {
    "Generator": "generator",
    "Scorer": "scorer",
    "LearnerWorker": "learner",
    "QueueActor": "replay queue",
    "StoreActor": "weight store",
    "RewardWorker": "reward",
}


def bench_loop(config: RunConfig, *, steps: int, peer: str, say: Say) -> dict[str, Any]:
    """Run `steps` steps after the warm-up and return the figures. `config` trains what it draws (SETTINGS).

    Raises ConfigError for inputs that are not there, and for a peer that is not installed.
    """
    check_inputs(config)
    rollouts = config.train.groups_per_step * config.generation.group_size
    if not peer:
        return _ours(config, steps, rollouts, say)
    from pgpo_async.bench.loop_trl import choose_micro_batch, measure_loop

    say("TRL: choosing its micro-batch")
    micro_batch = choose_micro_batch(config)
    say(f"TRL, micro-batch {micro_batch}, before")
    before = measure_loop(config, micro_batch, steps=steps)
    figures = _ours(config, steps, rollouts, say)
    say(f"TRL, micro-batch {micro_batch}, after")
    after = measure_loop(config, micro_batch, steps=steps)
    best = min(before, after, key=lambda times: times.step_s)
    return figures | {
        "peer_rollouts_per_s": rollouts / best.step_s,
        "rollouts_ratio": best.step_s / figures["step_s"],
        "peer": {**asdict(best), "steps_s": [before.step_s, after.step_s]},
    }


def _ours(config: RunConfig, steps: int, rollouts: int, say: Say) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as output:
        train = config.train.model_copy(update={"num_steps": WARM_UP + steps})
        config = config.model_copy(update={"train": train, "output_dir": output})
        folder = RunFolder(config)
        cluster = Cluster(config, folder.run_id)
        marks: dict[int, dict[str, float]] = {}

        def after(steps_done: int) -> None:
            say(f"ours: step {steps_done} of {config.train.num_steps}")
            if steps_done in (WARM_UP, config.train.num_steps - 1):
                marks[steps_done] = cpu_by_role(folder.run_id)

        try:
            cluster.start(say)
            rows = run_quietly(config, cluster, folder, after)
        finally:
            cluster.stop()
    step_s = mean_step_s(rows, WARM_UP)
    first, last = min(marks), max(marks)
    cpu_s = {role: (marks[last][role] - marks[first][role]) / (last - first) for role in sorted(marks[last])}
    measured = rows[WARM_UP:]
    return {
        "step_s": step_s,
        "rollouts_per_s": rollouts / step_s,
        "rollouts_per_step": rollouts,
        "response_tokens": _mean(measured, "queue/response_tokens"),
        "learner_wait_fraction": _mean(measured, "learner_wait_s") / step_s,
        "lag_mean": _mean(measured, "lag_mean"),
        "num_steps": len(measured),
        "num_cpus": psutil.cpu_count() or 1,
        "cpu_s_per_step": cpu_s,
        "scorer_cpu_share": cpu_s.get("scorer", 0.0) / sum(cpu_s.values()),
    }


def cpu_by_role(run_id: str) -> dict[str, float]:
    """Return the CPU seconds so far of a run's processes on this machine, by what they are for."""
    total: dict[str, float] = defaultdict(float, driver=_cpu_s(psutil.Process()))
    names: dict[int, str] = {}
    processes = list(processes_of(run_id, RUN_ID_VARIABLE))
    for process in processes:
        try:
            names[process.pid] = (process.cmdline() or [process.name()])[0]
        except psutil.Error:
            continue
    for process in processes:
        try:
            total[_role(process, names)] += _cpu_s(process)
        except psutil.Error:
            continue  # ended meanwhile
    return total


def _role(process: psutil.Process, names: Mapping[int, str]) -> str:
    """Return the role of the actor that a process is, or is a child of."""
    for one in (process, *process.parents()):
        actor = names.get(one.pid, "").removeprefix("ray::").partition(".")[0].partition("(")[0]
        if actor in _ROLES:
            return _ROLES[actor]
    return "ray"


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _mean(rows: list[dict[str, Any]], key: str) -> float:
    return float(sum(row[key] for row in rows) / len(rows))
