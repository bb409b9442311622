"""The command `pgpo-async tokens`: its options, which of them go together, and the file it writes.

Nothing heavy before it runs. The page is made by `run` or `model`, and `page`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pgpo_async.report.report_command import write_page
from pgpo_async.told import told_in_a_line

DEFAULT_NAME = "tokens.html"

_RUN = typer.Argument(metavar="[RUN]", help="A run's folder; or else --model, --image and --question.")


def tokens(
    run: Annotated[Path | None, _RUN] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder, hub name or builtin:tiny-vlm: a model to ask.")
    ] = None,
    image: Annotated[list[str] | None, typer.Option(help="An image file; may be repeated.")] = None,
    question: Annotated[
        str | None, typer.Option(help="About the images, which go where it says <image>, or before it.")
    ] = None,
    answer: Annotated[str | None, typer.Option(help="Reference answer, for rewards and advantages.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, max=64, help="Responses to sample; 4.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest response; as the config says.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(min=0.01, help="As the config says.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the samples; 0.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Config of a run: prompt template, method, reward. Else the defaults.")
    ] = None,
    step: Annotated[int | None, typer.Option(min=0, help="Of RUN: the groups sampled at this step.")] = None,
    group: Annotated[str | None, typer.Option(metavar="ID", help="Of RUN: this group.")] = None,
    measure_with: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Of RUN: measures entropy in place of RUN/model.")
    ] = None,
    entropy: Annotated[
        bool, typer.Option(help="Of RUN: measure entropy now, which no sample holds; loads the model.")
    ] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda; a GPU if there is one.")] = "",
    output: Annotated[
        Path | None, typer.Option(help="The HTML file; RUN/tokens.html, or tokens.html.")
    ] = None,
) -> None:
    """Show each response token of RUN, or of a model's answers, by what the image meant to it: one HTML file.

    Tokens are coloured by dependency, weight, advantage, entropy, importance weight or lag, at a key each.
    """
    with told_in_a_line():
        of_model = {
            "--image": image,
            "--question": question,
            "--answer": answer,
            "--samples": samples,
            "--max-tokens": max_tokens,
            "--temperature": temperature,
            "--seed": seed,
            "--config": config,
        }
        of_run = {
            "--step": step,
            "--group": group,
            "--measure-with": measure_with,
            "--no-entropy": None if entropy else True,
        }
        _check_together(run, model, of_run, of_model)
        path = output or (run or Path()) / DEFAULT_NAME
        # What can be wrong is found before torch is loaded.
        if run is not None:
            from pgpo_async.report.tokens.question import check_model
            from pgpo_async.report.tokens.samples import read_samples

            found = read_samples(run, step=step, group=group)
            if measure_with is not None:
                check_model(measure_with, "--measure-with")
            _check_output(path)
            where = _device(device)

            from pgpo_async.report.tokens.run import EntropyRequest, view_of_run

            asked = EntropyRequest(wanted=entropy, model=measure_with, device=where)
            view = view_of_run(run, found, asked, _say)
        else:
            from pgpo_async.report.tokens.question import ModelRequest, config_of, prompt_of

            assert model is not None
            assert question is not None
            request = ModelRequest(
                model=model,
                images=tuple(image or ()),
                question=question,
                answer=answer,
                samples=4 if samples is None else samples,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed or 0,
                config=config,
            )
            _check_output(path)
            run_config = config_of(request)
            prompt = prompt_of(request, run_config)
            where = _device(device)

            from pgpo_async.report.tokens.model import view_of_model

            view = view_of_model(request, run_config, prompt, device=where, say=_say)

        from pgpo_async.report.tokens.page import token_page

        page = token_page(view)
        write_page(path, page)
        typer.echo(f"{path}: {view.counts}, {len(page.encode()) / 1e6:.1f} MB")


def _check_together(
    run: Path | None, model: str | None, of_run: Mapping[str, Any], of_model: Mapping[str, Any]
) -> None:
    from pgpo_async.contracts import ConfigError

    given_run = [name for name, value in of_run.items() if value is not None]
    given_model = [name for name, value in of_model.items() if value not in (None, [])]
    if run is not None and model is not None:
        raise ConfigError("RUN and --model must not be given together: a page is of a run or of a model")
    if run is not None and given_model:
        raise ConfigError(f"{', '.join(given_model)}: must come with --model, not with a RUN")
    if run is None and model is None:
        raise ConfigError(
            "RUN or --model must be given: a run's folder, or a model with --image and --question"
        )
    if run is None and given_run:
        raise ConfigError(f"{', '.join(given_run)}: must come with a RUN, not with --model")
    missing = [name for name in ("--image", "--question") if name not in given_model]
    if run is None and missing:
        raise ConfigError(f"{' and '.join(missing)} must be given with --model")


def _check_output(path: Path) -> None:
    from pgpo_async.contracts import ConfigError

    if path.is_dir():
        raise ConfigError(f"--output must be a file, got the folder {path}")
    if not path.parent.is_dir():
        raise ConfigError(f"--output: the folder {path.parent} must exist")


def _device(asked: str) -> str:
    from pgpo_async.contracts import ConfigError

    if asked not in ("", "cpu", "cuda"):
        raise ConfigError(f"--device must be cpu or cuda, got {asked!r}")
    if asked == "cpu":
        return asked
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise ConfigError("--device cuda: torch finds no GPU on this machine")
    return "cpu"


def _say(text: str) -> None:
    typer.echo(f"{text} ...", err=True)
