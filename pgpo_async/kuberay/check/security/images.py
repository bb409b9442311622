"""An image must be the same one tomorrow: a tag that is not `latest`, or a digest. Called by `checking`."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import all_pods
from pgpo_async.kuberay.check.ray import clusters
from pgpo_async.kuberay.check.values import part, text


def check_images(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check the image of every container, and the autoscaler's where it has one of its own."""
    for pod in all_pods(manifests):
        for container in pod.containers:
            if problem := image_problem(text(container.body, "image")):
                yield pod.manifest.error((*container.path, "image"), problem)
    for cluster in clusters(manifests):
        image = part(cluster.spec, "autoscalerOptions", "image")
        if isinstance(image, str) and (problem := image_problem(image)):
            yield cluster.manifest.error((*cluster.path, "autoscalerOptions", "image"), problem)


def image_problem(image: str) -> str | None:
    """Say what is wrong with an image's name; None if it always names the same image."""
    if not image:
        return "is missing, must be NAME:TAG or NAME@DIGEST"
    name, at, digest = image.partition("@")
    if at:
        return None if digest.startswith("sha256:") else f"must have a digest of sha256, got {image!r}"
    _, colon, tag = name.rpartition("/")[2].partition(":")
    if not colon or not tag:
        return f"must have a tag or a digest, got {image!r}"
    return f"must have a tag that stays, got {image!r}" if tag == "latest" else None
