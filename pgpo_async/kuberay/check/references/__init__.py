"""What one object says of another: names, volumes, ports and labels that lead nowhere.

named_objects  ConfigMaps, Secrets, claims, accounts, priorities, queues, by their names
mounts         volumes and where they are mounted
selectors      labels that must match a pod, ports that its containers must have
"""

from pgpo_async.kuberay.check.references.mounts import check_mounts
from pgpo_async.kuberay.check.references.named_objects import check_named_objects
from pgpo_async.kuberay.check.references.selectors import check_selectors

REFERENCE_CHECKS = (check_named_objects, check_mounts, check_selectors)

__all__ = ["REFERENCE_CHECKS"]
