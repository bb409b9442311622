"""The command line: `pgpo-async COMMAND ...`, and what its exit codes mean.

Parses first and imports after: `--help` and a wrong config answer before torch, Ray or vLLM are loaded. The
work itself is `pgpo_async.orchestration`'s.

    0    done
    1    the run ended early for a known reason, told in one line
    2    the command line or the config is wrong; every issue is told
    130  interrupted

Any other exception is a bug, and keeps its traceback.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pgpo_async import __version__
from pgpo_async.bench.commands import bench
from pgpo_async.export.command import export
from pgpo_async.kuberay.commands import k8s
from pgpo_async.metrics.monitoring_command import monitoring
from pgpo_async.orchestration.doctor.command import doctor
from pgpo_async.orchestration.status_command import status
from pgpo_async.report.data_set.command import data
from pgpo_async.report.report_command import report
from pgpo_async.report.tokens.command import tokens
from pgpo_async.suite.command import evaluate
from pgpo_async.told import told_in_a_line

# Plain help and plain tracebacks: rich would take longer to import than the rest of this module.
app = typer.Typer(
    name="pgpo-async",
    help="Asynchronous RL of vision-language models with Perception-Grounded Policy Optimization (PGPO).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(bench)
app.add_typer(k8s)
app.add_typer(data)
app.command()(doctor)
app.command()(status)
app.command()(report)
app.command()(tokens)
app.command()(monitoring)
app.command()(export)
app.command("eval")(evaluate)

_CONFIG = typer.Argument(metavar="CONFIG", help="YAML file, for instance configs/local.yaml.")
_OVERRIDES = typer.Argument(metavar="KEY=VALUE", help="For instance learner.optimizer.lr=1e-6.")
_DRY_RUN = typer.Option("--dry-run", help="Check the config and show what would start.")


def _stated(text: str) -> Any:
    return typer.Option(min=0, help=text)


def main() -> None:
    """Entry point of `pgpo-async` and of `python -m pgpo_async`."""
    # Under `uv run` Ray would start its workers through uv too, and none would come up. It reads this once,
    # when it is imported.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    app()


@app.command()
def launch(
    config: Annotated[Path, _CONFIG],
    overrides: Annotated[list[str] | None, _OVERRIDES] = None,
    dry_run: Annotated[bool, _DRY_RUN] = False,
    resume: Annotated[
        str, typer.Option(metavar="auto|never|PATH", help="Go on with a run that did not complete.")
    ] = "never",
) -> None:
    """Train: one run, from start to end, as CONFIG describes it."""
    from pgpo_async.config import load_config

    with told_in_a_line():
        run_config = load_config(config, overrides or ())
        for warning in run_config.warnings():
            typer.echo(f"warning: {warning}", err=True)

        from pgpo_async.orchestration.launch import launch_run

        raise SystemExit(launch_run(run_config, dry_run=dry_run, resume=resume))


@app.command()
def scale(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that is under way.")],
    counts: Annotated[list[str], typer.Argument(metavar="ROLE=NUMBER", help="For instance generator=4.")],
) -> None:
    """Change the number of generators or scorers of a running job; those that leave end their work first."""
    with told_in_a_line():
        from pgpo_async.orchestration.scaling import scale_run

        typer.echo(scale_run(run, counts))


@app.command()
def compare(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, see configs/compare.yaml.")],
    overrides: Annotated[list[str] | None, _OVERRIDES] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all configs and list the runs.")] = False,
) -> None:
    """Train several methods with several seeds, as CONFIG says, and report on them.

    What is done already, with the very same config, is not done again.
    """
    from pgpo_async.config import load_compare, run_configs

    with told_in_a_line():
        compare_config = load_compare(config, overrides or ())
        planned = run_configs(compare_config, config, str(compare_config.folder))
        if dry_run:
            for run in planned:
                typer.echo(f"{run.method}, seed {run.seed}: {run.config.train.num_steps} steps")
            raise SystemExit(0)

        from pgpo_async.compare.runner import run_comparison

        raise SystemExit(run_comparison(compare_config, planned))


@app.command()
def plan(
    config: Annotated[Path, _CONFIG],
    overrides: Annotated[list[str] | None, _OVERRIDES] = None,
    generate: Annotated[float | None, _stated("Seconds of one group in an engine that is full.")] = None,
    generate_sigma: Annotated[float | None, _stated("Its spread (log-normal); 0.6: a long tail.")] = None,
    score: Annotated[float | None, _stated("Seconds of one scorer for the groups of a step.")] = None,
    learn: Annotated[float | None, _stated("Seconds of one optimizer step.")] = None,
    publish: Annotated[float | None, _stated("Seconds until a step's weights can be loaded.")] = None,
    load: Annotated[float | None, _stated("Seconds an engine stands still to load weights.")] = None,
    filtered: Annotated[float | None, _stated("Share of the groups that have no signal.")] = None,
    run: Annotated[
        Path | None, typer.Option("--from", help="A run's folder or summary.json: times measured there.")
    ] = None,
    group_bytes: Annotated[int | None, _stated("Bytes of one group; else estimated from CONFIG.")] = None,
    model_bytes: Annotated[int | None, _stated("Bytes of the model's weights.")] = None,
    parameters: Annotated[float | None, _stated("Or their number; else read from a local model.")] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="Find the best split of so many GPUs.")] = None,
    gpu: Annotated[
        str, typer.Option(help="Kind of GPU that estimates are for: h100, h200, a100, l40s.")
    ] = "h100",
    response_tokens: Annotated[float | None, _stated("Mean tokens of a response.")] = None,
    image_tokens: Annotated[float | None, _stated("Mean tokens of a prompt's images.")] = None,
    text_tokens: Annotated[float | None, _stated("Mean tokens of a prompt without its images.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated times.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Predict a run of CONFIG: pace, waits, lag, memory by role, what to change.

    From the seconds that its stages take: stated, measured by an earlier run, or estimated for a kind of GPU.
    """
    from pgpo_async.config import load_config

    with told_in_a_line():
        run_config = load_config(config, overrides or ())

        from pgpo_async.orchestration.planning.plan_report import plan_and_print
        from pgpo_async.orchestration.planning.workload import StatedTokens

        plan_and_print(
            run_config,
            stated={
                "generate_s": generate,
                "generate_sigma": generate_sigma,
                "score_s": score,
                "learn_s": learn,
                "publish_s": publish,
                "load_s": load,
                "filtered_share": filtered,
            },
            run=run,
            group_bytes=group_bytes,
            model_bytes=model_bytes,
            parameters=parameters,
            num_gpus=gpus,
            seed=seed,
            path=json,
            gpu=gpu,
            tokens=StatedTokens(response=response_tokens, image=image_tokens, text=text_tokens),
        )


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"pgpo-async {__version__}")
        raise typer.Exit


if __name__ == "__main__":
    main()
