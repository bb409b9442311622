"""The commands `pgpo-async bench ...`: options and help, nothing heavy before one runs."""

from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.told import told_in_a_line

bench = typer.Typer(
    name="bench",
    help="Measure this machine: each prints a table and, with --json, writes its figures.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_CONFIG = typer.Argument(metavar="CONFIG", help="YAML file of the run.")
_OVERRIDES = typer.Argument(metavar="[KEY=VALUE]...", help="Set fields of CONFIG.")


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
    with told_in_a_line(json):
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
    with told_in_a_line(json):
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
    with told_in_a_line(json):
        from pgpo_async.bench.overlap_table import run_and_print
        from pgpo_async.orchestration.service_times import ServiceTimes

        times = ServiceTimes(generate_s=generate, generate_sigma=generate_sigma, score_s=score, learn_s=learn)
        run_and_print(times, steps=steps, shapes=shapes, path=json)


@bench.command("metrics")
def bench_metrics(
    steps: Annotated[int, typer.Option(min=2, help="Steps of a block.")] = 8,
    blocks: Annotated[
        int, typer.Option(min=2, help="Blocks with all metrics on, and as many with none.")
    ] = 12,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """What looking costs: steps with all metrics, sinks and scrapes on against steps with none, in turns."""
    with told_in_a_line(json):
        from pgpo_async.bench.on_off_table import print_metrics

        print_metrics(steps=steps, blocks=blocks, path=json)


@bench.command("data")
def bench_data(
    rows: Annotated[int, typer.Option(min=1, help="Rows of the file that is made up.")] = 1000,
    width: Annotated[int, typer.Option(min=28, help="Of each image, in pixels.")] = 640,
    height: Annotated[int, typer.Option(min=28, help="Likewise.")] = 480,
    threads: Annotated[int, typer.Option(min=1, help="Images preprocessed at once.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """How fast prompts with images are drawn from a Parquet file, decoded and cut into patches."""
    with told_in_a_line(json):
        from pgpo_async.bench.data_table import run_and_print

        run_and_print(rows=rows, width=width, height=height, threads=threads, path=json)


@bench.command("verify")
def bench_verify(
    seconds: Annotated[float, typer.Option(min=0.1, help="For each kind of answer.")] = 5.0,
    processes: Annotated[int, typer.Option(min=1, help="Verifiers at work at once.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """How many answers a second the built-in reward verifies, by kind of answer."""
    with told_in_a_line(json):
        from pgpo_async.bench.verify import run_and_print

        run_and_print(seconds=seconds, processes=processes, path=json)


@bench.command("evaluation")
def bench_evaluation(
    steps: Annotated[int, typer.Option(min=2, help="Steps of a block.")] = 8,
    blocks: Annotated[int, typer.Option(min=2, help="Blocks with evaluation, and as many without.")] = 6,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """What evaluation during training costs: steps with it against steps without, in turns (stages sleep)."""
    with told_in_a_line(json):
        from pgpo_async.bench.on_off_table import print_evaluation

        print_evaluation(steps=steps, blocks=blocks, path=json)


@bench.command("loop")
def bench_loop(
    config: Annotated[Path, _CONFIG],
    overrides: Annotated[list[str] | None, _OVERRIDES] = None,
    steps: Annotated[int, typer.Option(min=2, help="Steps measured, after the warm-up.")] = 20,
    peer: Annotated[str, typer.Option(help="trl: compare with TRL's GRPO trainer on the same task.")] = "",
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """A whole run on its real engines, once under way: rollouts trained a second, CPU time by role."""
    from pgpo_async.config import load_config
    from pgpo_async.contracts import ConfigError

    with told_in_a_line(json):
        from pgpo_async.bench.options import PEERS, unknown

        if issues := unknown("peer", [peer] if peer else [], PEERS):
            raise ConfigError(issues)
        from pgpo_async.bench.loop import SETTINGS
        from pgpo_async.bench.loop_table import run_and_print

        run_config = load_config(config, [*SETTINGS, *(overrides or ())])
        run_and_print(run_config, steps=steps, peer=peer, path=json)


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
    with told_in_a_line(json):
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
    with told_in_a_line(json):
        from pgpo_async.bench.queue_table import run_and_print

        run_and_print(num_groups=groups, group_bytes=group_bytes, depth=depth, repeats=repeats, path=json)


@bench.command("chaos")
def bench_chaos(
    kills: Annotated[int, typer.Option(min=1, help="Blows (SIGKILL and SIGSTOP) in all.")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, help="Of who is struck when; the same again with the same.")
    ] = 0,
    steps: Annotated[int, typer.Option(min=10, help="Steps of the run, over which the blows spread.")] = 400,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="generator, scorer, reward, store, queue, learner, node, driver or checkpoint (the driver "
            "while one is written); may be repeated. All."
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the run's folder and its driver's log here.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """A run whose processes, nodes and driver are killed and frozen at random: what is lost, and how long."""
    with told_in_a_line(json):
        from pgpo_async.bench.chaos_plan import SHARES
        from pgpo_async.bench.chaos_table import run_and_print

        targets = tuple(target or SHARES)
        run_and_print(kills=kills, seed=seed, steps=steps, targets=targets, keep=keep, path=json)


@bench.command("deaths")
def bench_deaths(
    config: Annotated[Path, _CONFIG],
    overrides: Annotated[list[str] | None, _OVERRIDES] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """A whole run on its real engines, each role killed once: how soon it is noticed and got over."""
    from pgpo_async.config import load_config

    with told_in_a_line(json):
        from pgpo_async.bench.deaths_table import run_and_print

        run_and_print(load_config(config, overrides or ()), path=json)


@bench.command("soak")
def bench_soak(
    groups: Annotated[int, typer.Option(min=640, help="Groups trained in all.")] = 20_000,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
) -> None:
    """A long run around stages that sleep: memory and open files of driver, queue and store."""
    with told_in_a_line(json):
        from pgpo_async.bench.soak_table import run_and_print

        run_and_print(groups=groups, path=json)
