"""What evaluation during training costs a step: a run around stages that sleep, with it and without in turns.

The engines that evaluate sleep as well, so this is what the pipeline pays: weights loaded once more, prompts
and answers through Ray. What engines and learner take of each other's device or cores is not in it.
"""

import tempfile
from typing import Any

from rich.console import Console

from pgpo_async.bench.metrics_cost import TIMES
from pgpo_async.bench.on_off import OnOff
from pgpo_async.bench.overlap import Load
from pgpo_async.bench.report import Say
from pgpo_async.bench.sleeping_stages import SLEEPING
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.inputs import EvaluationConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.run_folder import EVALUATIONS, RunFolder
from pgpo_async.orchestration.telemetry import Telemetry
from pgpo_async.report.run_files import JsonLines

ASKED = EvaluationConfig(num_prompts=64, every=1)
"""As often as it can be: an evaluation takes longer than a step, the next one begins when it is done."""


def bench_evaluation(*, steps: int, blocks: int, say: Say) -> dict[str, Any]:
    """Measure `blocks` pairs of blocks; returns the median steps of both, and their difference."""
    load = Load(name="evaluation", times=TIMES)
    with tempfile.TemporaryDirectory() as home:
        plain = load.config(steps=OnOff.num_steps(steps, blocks), output_dir=home)
        config = plain.model_copy(update={"evaluation": ASKED})
        write_times(config, load.times)
        folder = RunFolder(config)
        cluster = Cluster(config, folder.run_id, SLEEPING)
        say("starting")
        try:
            cluster.start(lambda _: None)
            telemetry = Telemetry(config, folder, cluster, Console(quiet=True))
            telemetry.start()
            telemetry.ready()
            on_off = OnOff(steps, blocks, telemetry.evaluate, say)
            try:
                on_off.loop(config, cluster, folder, telemetry).run()
            finally:
                telemetry.close()
        finally:
            cluster.stop()
        evaluations = list(JsonLines(folder.path / EVALUATIONS))
    figures = on_off.figures()
    return {
        "evaluation_overhead": figures.pop("overhead"),
        **figures,
        "evaluations": len(evaluations),
        "evaluation_s": sum(line["seconds"] for line in evaluations) / max(1, len(evaluations)),
    }
