"""Which fields each kind has, and of which types.

ray_kinds       RayJob and RayCluster, by KubeRay's own resource definitions
core_kinds      Kubernetes' kinds, by the schemas in `kubernetes-validate`
written_kinds   monitoring and Kueue, by schemas written here: `monitoring`, `kueue`, of `parts`
structural      a resource definition's schema to one that refuses unknown fields
told            what a schema refuses, in this project's words
"""
