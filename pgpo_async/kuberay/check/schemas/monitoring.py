"""PodMonitor, ServiceMonitor and PrometheusRule of the Prometheus operator (monitoring.coreos.com/v1).

Written after its API reference. Credentials of a scrape (TLS, OAuth, basic) are only known by their names:
nothing here is scraped with any. Read by `written_kinds`.
"""

from pgpo_async.kuberay.check.schemas.parts import (
    ANYTHING,
    COUNT,
    DURATION,
    LABEL_SELECTOR,
    NAME,
    NUMBER_OR_TEXT,
    SECRET_KEY,
    STRINGS,
    SWITCH,
    TEXT,
    Schema,
    fields,
    kind,
    list_of,
    map_of,
    one_of,
)

API_GROUP = "monitoring.coreos.com"

_ACTIONS: tuple[str, ...] = (
    "replace",
    "keep",
    "drop",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
)
_ACTIONS += ("keepequal", "dropequal")
_RELABELING = fields(
    sourceLabels=list_of(TEXT),
    separator=TEXT,
    targetLabel=TEXT,
    regex=TEXT,
    modulus=COUNT,
    replacement=TEXT,
    action=one_of(
        *_ACTIONS, *(action.capitalize() for action in _ACTIONS), "HashMod", "LabelMap", "LabelDrop"
    ),
)
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_ENDPOINT = {
    "port": NAME,
    "targetPort": NUMBER_OR_TEXT,
    "path": TEXT,
    "scheme": one_of("http", "https", "HTTP", "HTTPS"),
    "params": map_of(list_of(TEXT)),
    "interval": DURATION,
    "scrapeTimeout": DURATION,
    "tlsConfig": ANYTHING,
    "bearerTokenSecret": SECRET_KEY,
    "honorLabels": SWITCH,
    "honorTimestamps": SWITCH,
    "trackTimestampsStaleness": SWITCH,
    "basicAuth": ANYTHING,
    "oauth2": ANYTHING,
    "authorization": ANYTHING,
    "metricRelabelings": list_of(_RELABELING),
    "relabelings": list_of(_RELABELING),
    "proxyUrl": TEXT,
    "noProxy": TEXT,
    "proxyFromEnvironment": SWITCH,
    "proxyConnectHeader": ANYTHING,
    "followRedirects": SWITCH,
    "enableHttp2": SWITCH,
    "filterRunning": SWITCH,
}
_MONITOR = {
    "jobLabel": TEXT,
    "selector": LABEL_SELECTOR,
    "selectorMechanism": one_of("RelabelConfig", "RoleSelector"),
    "namespaceSelector": fields(any=SWITCH, matchNames=list_of(TEXT)),
    "sampleLimit": COUNT,
    "targetLimit": COUNT,
    "scrapeProtocols": list_of(TEXT),
    "fallbackScrapeProtocol": TEXT,
    "scrapeClassicHistograms": SWITCH,
    "scrapeNativeHistograms": SWITCH,
    "nativeHistogramBucketLimit": COUNT,
    "nativeHistogramMinBucketFactor": NUMBER_OR_TEXT,
    "convertClassicHistogramsToNHCB": SWITCH,
    "labelLimit": COUNT,
    "labelNameLengthLimit": COUNT,
    "labelValueLengthLimit": COUNT,
    "keepDroppedTargets": COUNT,
    "attachMetadata": fields(node=SWITCH),
    "scrapeClass": NAME,
    "bodySizeLimit": TEXT,
    "podTargetLabels": list_of(TEXT),
}
_RULE = fields(
    "expr",
    record=TEXT,
    alert=TEXT,
    expr=NUMBER_OR_TEXT,
    **{"for": DURATION},
    keep_firing_for=DURATION,
    labels=STRINGS,
    annotations=STRINGS,
)
_RULE_GROUP = fields(
    "name",
    name=NAME,
    labels=STRINGS,
    interval=DURATION,
    query_offset=DURATION,
    rules=list_of(_RULE),
    partial_response_strategy=one_of("abort", "warn", "ABORT", "WARN"),
    limit=COUNT,
)

SCHEMAS: dict[tuple[str, str], Schema] = {
    ("v1", "PodMonitor"): kind(
        fields(
            "selector",
            "podMetricsEndpoints",
            **_MONITOR,
            podMetricsEndpoints=list_of(fields(**_ENDPOINT, portNumber=_PORT), at_least=1),
        )
    ),
    ("v1", "ServiceMonitor"): kind(
        fields(
            "selector",
            "endpoints",
            **_MONITOR,
            targetLabels=list_of(TEXT),
            endpoints=list_of(fields(**_ENDPOINT, bearerTokenFile=TEXT), at_least=1),
            serviceDiscoveryRole=one_of("Endpoints", "EndpointSlice"),
        )
    ),
    ("v1", "PrometheusRule"): kind(fields("groups", groups=list_of(_RULE_GROUP, at_least=1))),
}
