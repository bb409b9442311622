"""Pod Security "restricted" and what this project promises beyond it, on every pod template wherever it is.

pod_settings        the pod: host namespaces, host folders, identity, the service account's token
container_settings  each container's security context, the operator's own containers included
images              a tag that stays
memory              requests and limits, shared memory within them
exposure            nothing can be reached from outside the cluster
network             a namespace with Ray pods denies by default
rights              roles that may no more than they must
secret_values       no secret in plain sight
"""

from pgpo_async.kuberay.check.security.container_settings import check_container_settings
from pgpo_async.kuberay.check.security.exposure import check_exposure
from pgpo_async.kuberay.check.security.images import check_images
from pgpo_async.kuberay.check.security.memory import check_memory
from pgpo_async.kuberay.check.security.network import check_network
from pgpo_async.kuberay.check.security.pod_settings import check_pod_settings
from pgpo_async.kuberay.check.security.rights import check_rights
from pgpo_async.kuberay.check.security.secret_values import check_secret_values

SECURITY_CHECKS = (
    check_pod_settings,
    check_container_settings,
    check_images,
    check_memory,
    check_exposure,
    check_network,
    check_rights,
    check_secret_values,
)

__all__ = ["SECURITY_CHECKS"]
