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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pgpo_async import __version__

# Plain help and plain tracebacks: rich would take longer to import than the rest of this module.
app = typer.Typer(
    name="pgpo-async",
    help="Asynchronous RL of vision-language models with Perception-Grounded Policy Optimization (PGPO).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

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
) -> None:
    """Train: one run, from start to end, as CONFIG describes it."""
    from pgpo_async.config import load_config

    with _told_in_a_line():
        run_config = load_config(config, overrides or ())
        for warning in run_config.warnings():
            typer.echo(f"warning: {warning}", err=True)

        from pgpo_async.orchestration.launch import launch_run

        raise SystemExit(launch_run(run_config, dry_run=dry_run))


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

    with _told_in_a_line():
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
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated times.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Predict a run of CONFIG from the seconds its stages take: pace, waits, lag, memory, what to change."""
    from pgpo_async.config import load_config

    with _told_in_a_line():
        run_config = load_config(config, overrides or ())

        from pgpo_async.orchestration.planning.plan_report import plan_and_print

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
        )


bench = typer.Typer(
    name="bench",
    help="Measure this machine: each prints a table and, with --json, writes its figures.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(bench)


@bench.command("policy")
def bench_policy(
    model: Annotated[
        list[str] | None, typer.Option(help="tiny, 3b-like or 3b (random weights); may be repeated.")
    ] = None,
    images: Annotated[
        list[int] | None, typer.Option(help="Image tokens of a prompt: 300 or 1280; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; a GPU if there is one.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Times each way is measured; medians are told.")] = 3,
    attention: Annotated[str, typer.Option(help="auto, flash or math.")] = "auto",
    head: Annotated[bool, typer.Option(help="Measure the log-probs of a large vocabulary too.")] = True,
    peer: Annotated[str, typer.Option(help="trl: compare one optimizer step of the demo with TRL.")] = "",
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Scoring and training passes: shared prefixes and dropped images against the plain way."""
    with _told_in_a_line():
        from pgpo_async.bench.options import Options

        options = Options(
            models=tuple(model or ()),
            image_tokens=tuple(images or (300, 1280)),
            repeats=repeats,
            device=device,
            head=head,
            attention=attention,
            peer=peer,
        )

        from pgpo_async.bench.policy_table import run_and_print

        run_and_print(options, json)


@bench.command("variance")
def bench_variance(
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of the objects demo.")] = 16,
    group_size: Annotated[int, typer.Option(min=2, help="Responses to each.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of prompts, responses and masks.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """How much each method's gradient varies on one batch, response by response, and why."""
    with _told_in_a_line():
        from pgpo_async.bench.variance_table import run_and_print

        run_and_print(num_prompts=prompts, group_size=group_size, seed=seed, path=json)


@bench.command("overlap")
def bench_overlap(
    steps: Annotated[int, typer.Option(min=10, help="Steps measured, after the warm-up.")] = 64,
    generate: Annotated[float, typer.Option(min=0, help="Seconds of a group in an engine.")] = 1.0,
    generate_sigma: Annotated[float, typer.Option(min=0, help="Spread (log-normal); 0 is constant.")] = 0.6,
    score: Annotated[float, typer.Option(min=0, help="Seconds of a scorer for a step's groups.")] = 0.3,
    learn: Annotated[float, typer.Option(min=0, help="Seconds of an optimizer step.")] = 0.9,
    shapes: Annotated[bool, typer.Option(help="Three other shapes of load, too.")] = True,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """The pipeline around stages that only sleep: how close it comes to the slowest of them."""
    with _told_in_a_line():
        from pgpo_async.bench.overlap_table import run_and_print
        from pgpo_async.orchestration.service_times import ServiceTimes

        times = ServiceTimes(generate_s=generate, generate_sigma=generate_sigma, score_s=score, learn_s=learn)
        run_and_print(times, steps=steps, shapes=shapes, path=json)


@bench.command("weights")
def bench_weights(
    gigabytes: Annotated[
        float, typer.Option(min=0.001, help="Size of the synthetic bf16 model; needs about 8 times as much.")
    ] = 1.0,
    changed: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of elements that change from version to version.")
    ] = 0.02,
    versions: Annotated[int, typer.Option(min=2, help="Versions published, staged and loaded.")] = 50,
    full_every: Annotated[
        int, typer.Option(min=2, help="One version in so many is sent whole (weights.full_every).")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and of what changes.")] = 0,
    engine: Annotated[
        bool, typer.Option(help="Measure how long a vLLM engine on the tiny model pauses for an update too.")
    ] = True,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Weight versions on their way: bytes sent, seconds to publish, stage and load, an engine's pauses."""
    with _told_in_a_line():
        from pgpo_async.bench.weights_table import run_and_print

        run_and_print(
            gigabytes=gigabytes,
            changed=changed,
            versions=versions,
            full_every=full_every,
            seed=seed,
            engine=engine,
            path=json,
        )


@bench.command("queue")
def bench_queue(
    groups: Annotated[int, typer.Option(min=1, help="Groups sent in each turn.")] = 512,
    group_bytes: Annotated[int, typer.Option(min=1, help="Bytes of an encoded group.")] = 262_144,
    depth: Annotated[int, typer.Option(min=2, help="Most groups held at once; memory is told at it.")] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each queue; medians are told.")] = 5,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """Groups through the replay queue, from generator to learner, against ray.util.queue."""
    with _told_in_a_line():
        from pgpo_async.bench.queue_table import run_and_print

        run_and_print(num_groups=groups, group_bytes=group_bytes, depth=depth, repeats=repeats, path=json)


@contextmanager
def _told_in_a_line() -> Iterator[None]:
    """Turn the errors that users can act on into messages and exit codes."""
    from pgpo_async.contracts import ConfigError, PgpoError

    try:
        yield
    except ConfigError as error:
        for issue in error.issues:
            typer.echo(issue, err=True)
        raise SystemExit(2) from None
    except PgpoError as error:
        typer.echo(f"error: {' '.join(error.message.split())}", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise SystemExit(130) from None


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"pgpo-async {__version__}")
        raise typer.Exit


if __name__ == "__main__":
    main()
