"""Kueue's queues (kueue.x-k8s.io): ResourceFlavor, ClusterQueue, LocalQueue, WorkloadPriorityClass.

Written after its API reference, v1beta1 and v1beta2, which differ in a few names. Read by `written_kinds`.
"""

from pgpo_async.kuberay.check.schemas.parts import (
    ANYTHING,
    LABEL_SELECTOR,
    NAME,
    NUMBER_OR_TEXT,
    QUANTITY,
    STRINGS,
    TEXT,
    Schema,
    fields,
    kind,
    list_of,
    one_of,
)

API_GROUP = "kueue.x-k8s.io"

_EFFECT = one_of("NoSchedule", "PreferNoSchedule", "NoExecute")
_FLAVOR = kind(
    fields(
        nodeLabels=STRINGS,
        nodeTaints=list_of(fields("key", "effect", key=NAME, value=TEXT, effect=_EFFECT, timeAdded=TEXT)),
        tolerations=list_of(
            fields(
                key=TEXT,
                operator=one_of("Exists", "Equal"),
                value=TEXT,
                effect=_EFFECT,
                tolerationSeconds={"type": "integer"},
            )
        ),
        topologyName=NAME,
    ),
    spec_needed=False,
)
_RESOURCE_GROUP = fields(
    "coveredResources",
    "flavors",
    coveredResources=list_of(NAME, at_least=1),
    flavors=list_of(
        fields(
            "name",
            "resources",
            name=NAME,
            resources=list_of(
                fields(
                    "name",
                    "nominalQuota",
                    name=NAME,
                    nominalQuota=QUANTITY,
                    borrowingLimit=QUANTITY,
                    lendingLimit=QUANTITY,
                ),
                at_least=1,
            ),
        ),
        at_least=1,
    ),
)
_FAIR = fields(weight=NUMBER_OR_TEXT)
_STOP = one_of("None", "Hold", "HoldAndDrain")
_WITHIN = one_of("Never", "LowerPriority", "Any")
_QUEUE = {
    "resourceGroups": list_of(_RESOURCE_GROUP),
    "queueingStrategy": one_of("StrictFIFO", "BestEffortFIFO"),
    "namespaceSelector": LABEL_SELECTOR,
    "preemption": fields(
        reclaimWithinCohort=_WITHIN,
        borrowWithinCohort=fields(
            policy=one_of("Never", "LowerPriority"), maxPriorityThreshold={"type": "integer"}
        ),
        withinClusterQueue=one_of("Never", "LowerPriority", "LowerOrNewerEqualPriority"),
    ),
    "admissionChecksStrategy": fields(
        admissionChecks=list_of(fields("name", name=NAME, onFlavors=list_of(NAME)))
    ),
    "stopPolicy": _STOP,
    "fairSharing": _FAIR,
    "admissionScope": ANYTHING,
}


def _flexibility(*fits: str) -> Schema:
    words = one_of(*fits, "TryNextFlavor")
    return fields(whenCanBorrow=words, whenCanPreempt=words, preference=TEXT)


_LOCAL_QUEUE = kind(fields("clusterQueue", clusterQueue=NAME, stopPolicy=_STOP, fairSharing=_FAIR))
_PRIORITY = fields(
    "value",
    apiVersion=TEXT,
    kind=TEXT,
    metadata=ANYTHING,
    value={"type": "integer"},
    description=TEXT,
)
_BETA_1 = fields(
    **_QUEUE,
    cohort=NAME,
    admissionChecks=list_of(NAME),
    flavorFungibility=_flexibility("Borrow", "Preempt", "MayStopSearch"),
)
_BETA_2 = fields(**_QUEUE, cohortName=NAME, flavorFungibility=_flexibility("MayStopSearch"))

SCHEMAS: dict[tuple[str, str], Schema] = {
    ("v1beta1", "ClusterQueue"): kind(_BETA_1),
    ("v1beta2", "ClusterQueue"): kind(_BETA_2),
} | {
    (version, name): schema
    for version in ("v1beta1", "v1beta2")
    for name, schema in (
        ("ResourceFlavor", _FLAVOR),
        ("LocalQueue", _LOCAL_QUEUE),
        ("WorkloadPriorityClass", _PRIORITY),
    )
}
