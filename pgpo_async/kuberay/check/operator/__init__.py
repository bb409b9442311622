"""What the KubeRay operator (1.7.0) refuses or reads otherwise than it looks, and no schema says.

job, deletion    a RayJob: its name, life, submission; what is deleted when it ends
cluster          a cluster: its name, versions, options behind feature gates
groups           head and worker groups: containers, replicas, resources, labels
autoscaling      Ray's autoscaler
fault_tolerance  the control store that outlives the head
auth             tokens
queueing         what Kueue can run
"""

from pgpo_async.kuberay.check.operator.auth import check_auth
from pgpo_async.kuberay.check.operator.autoscaling import check_autoscaling
from pgpo_async.kuberay.check.operator.cluster import check_clusters
from pgpo_async.kuberay.check.operator.deletion import check_deletion
from pgpo_async.kuberay.check.operator.fault_tolerance import check_fault_tolerance
from pgpo_async.kuberay.check.operator.groups import check_groups
from pgpo_async.kuberay.check.operator.job import check_jobs
from pgpo_async.kuberay.check.operator.queueing import check_queueing

OPERATOR_CHECKS = (
    check_jobs,
    check_deletion,
    check_clusters,
    check_groups,
    check_autoscaling,
    check_fault_tolerance,
    check_auth,
    check_queueing,
)

__all__ = ["OPERATOR_CHECKS"]
