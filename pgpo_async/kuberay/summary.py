"""What was rendered, in a few lines: pods and their sizes, and how to go on."""

from collections.abc import Sequence
from pathlib import Path

from pgpo_async.kuberay.labels import Manifest
from pgpo_async.kuberay.planned_run import PlannedRun
from pgpo_async.kuberay.quantities import as_cpus, as_memory


def summary(run: PlannedRun, objects: Sequence[Manifest], folder: Path) -> str:
    """Return lines for the terminal."""
    head = run.memory.head
    rows = [
        ("head", "1", as_cpus(run.settings.head.cpus), "0", as_memory(head.limit), as_memory(head.shared))
    ]
    for shape in run.shapes:
        memory = run.memory.workers[shape.role]
        rows.append(
            (
                shape.role,
                str(shape.pods),
                as_cpus(shape.cpus),
                str(shape.gpus),
                as_memory(memory.limit),
                as_memory(memory.shared),
            )
        )
    titles = ("group", "pods", "CPUs each", "GPUs each", "memory each", "of it /dev/shm")
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in [titles, *rows]
    ]
    return "\n".join(
        [
            f"{len(objects)} objects of the run {run.name} in {folder}",
            *lines,
            f"check:  pgpo-async k8s check {folder}",
            f"apply:  kubectl apply -k {folder}",
            f"look:   kubectl -n {run.settings.namespace} get rayjob {run.name}",
        ]
    )
