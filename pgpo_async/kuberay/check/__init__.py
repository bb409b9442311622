"""`pgpo-async k8s check`: Kubernetes manifests validated without a cluster.

    command      the command's options and exit codes
    reading      a folder, a file, a kustomization or stdin to manifests; `yaml_text` reads one text
    manifest     an object of the folder, and a finding about it
    values       reading what may have any shape
    names, quantities  Kubernetes' own syntax
    ray          Ray clusters as the operator sees them: groups, their Ray containers, autoscaling
    pods         every pod template, with the labels that its pods will have
    checking     all checks in their order, one finding a field
    documents    what every object must have
    schemas/     kinds and fields: Ray's from KubeRay's CRDs, Kubernetes' own, monitoring's and Kueue's
    operator/    rules of the KubeRay operator that no schema holds
    security/    Pod Security "restricted" and this project's promises
    references/  names of objects, volumes, ports and labels that lead nowhere
    run          the run config against the cluster that is to run it
    printing     findings as lines, and as JSON

Each check is a function from manifests to findings. None of them may fail on what a manifest holds: a wrong
type is the schemas' to tell, and all others read past it.
"""
