"""`pgpo-async k8s check`: its options, and its exit codes. Nothing heavy is imported before it runs.

0    no errors; warnings do not count
1    errors, a line each
2    there is nothing that could be checked
"""

from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.told import told_in_a_line


def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder, kustomization or file of manifests; - reads stdin.")
    ],
    crds: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="KubeRay's ray.io_rayjobs.yaml and ray.io_rayclusters.yaml.  [default: $PGPO_KUBERAY_CRDS]",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the findings to this file.")] = None,
) -> None:
    """Validate Kubernetes manifests offline: fields, the operator's rules, security, references, the run.

    Each line is what is wrong, and where. Exit code 1 if there is an error.
    """
    with told_in_a_line(json):
        from pgpo_async.kuberay.check.checking import check_manifests
        from pgpo_async.kuberay.check.printing import count, lines, write_json
        from pgpo_async.kuberay.check.reading import read_folder
        from pgpo_async.kuberay.check.schemas.ray_kinds import crds_folder

        definitions = crds_folder(crds)
        read = read_folder(folder)
        findings = [*read.findings, *check_manifests(read.manifests, definitions)]
        for line in lines(findings, len(read.manifests)):
            typer.echo(line)
        if json is not None:
            write_json(json, findings, len(read.manifests))
        raise SystemExit(1 if count(findings, "error") else 0)
