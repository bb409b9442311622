"""Kubernetes with KubeRay: manifests of a run (`render`), and their offline validation (`check`)."""
