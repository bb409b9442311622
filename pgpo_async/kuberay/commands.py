"""`pgpo-async k8s render | check | tree`; nothing heavy is imported before a command runs."""

from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.kuberay.check.command import check
from pgpo_async.told import told_in_a_line

k8s = typer.Typer(
    name="k8s",
    help="Run on Kubernetes with KubeRay: manifests of a run, and their validation.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
k8s.command()(check)

_CONFIG = typer.Argument(metavar="CONFIG", help="The run's YAML file, as `launch` takes it.")
_OVERRIDES = typer.Argument(metavar="KEY=VALUE", help="Of the run, for instance generator.replicas=4.")
_OVERLAY = typer.Option(metavar="NAME", help="base, cpu-demo, gpu, autoscaled or kueue.")
_SETTINGS = typer.Option(metavar="FILE", help="Image, storage, queues, ...: see k8s/settings.yaml.")
_SET = typer.Option("--set", metavar="KEY=VALUE", help="One setting, for instance image=HOST/NAME:TAG.")
_OUTPUT = typer.Option(metavar="FOLDER", help="Write files for `kubectl apply -k`; printed if not given.")


@k8s.command()
def render(
    config: Annotated[Path, _CONFIG],
    overrides: Annotated[list[str] | None, _OVERRIDES] = None,
    overlay: Annotated[str, _OVERLAY] = "base",
    settings: Annotated[Path | None, _SETTINGS] = None,
    set_: Annotated[list[str] | None, _SET] = None,
    output: Annotated[Path | None, _OUTPUT] = None,
) -> None:
    """Write the manifests of a run: as many pods, GPUs and bytes as CONFIG asks for."""
    with told_in_a_line():
        from pgpo_async.kuberay.kustomize import folder
        from pgpo_async.kuberay.render import as_text, rendered
        from pgpo_async.kuberay.summary import summary
        from pgpo_async.kuberay.writing import planned
        from pgpo_async.metrics.monitoring_files import write_texts

        run = planned(config, overrides or (), overlay, settings, set_ or ())
        objects = rendered(run, overlay)
        if output is None:
            typer.echo(as_text(objects), nl=False)
            return
        write_texts(output, folder(objects))
        typer.echo(summary(run, objects, output))


@k8s.command()
def tree(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is not there.")],
    config: Annotated[Path, typer.Option(help="The run of base, gpu, autoscaled and kueue.")] = Path(
        "configs/cluster.yaml"
    ),
    demo: Annotated[Path, typer.Option(help="The run of cpu-demo.")] = Path("configs/local.yaml"),
    settings: Annotated[Path, _SETTINGS] = Path("k8s/settings.yaml"),
) -> None:
    """Write the kustomize base and overlays that k8s/ holds."""
    with told_in_a_line():
        from pgpo_async.kuberay.writing import shipped_tree
        from pgpo_async.metrics.monitoring_files import write_texts

        for path in write_texts(folder, shipped_tree(config, demo, settings)):
            typer.echo(path)
