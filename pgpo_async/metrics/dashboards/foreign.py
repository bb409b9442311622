"""Series that are not ours: vLLM's, as Ray exports them, and Prometheus's own. Only what the panels use.

vLLM 0.32 names its metrics `vllm:x`; its Ray logger makes `vllm_x` of that, Ray `ray_vllm_x`, and ends
counters with `_total`. They say which worker they are of (`WorkerId`), not which run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgpo_async.metrics.metric import OPEN, Kind

ENGINE_CONDITION = "metrics.engine, and a Prometheus that scrapes Ray's ports"
ENGINE_EVENT = f"{ENGINE_CONDITION}; and it happened"
"""Ray's counters begin with the first count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreign:
    """One family of series. `help` and `condition` are as in `Metric`."""

    name: str
    kind: Kind
    help: str
    condition: str = ENGINE_CONDITION
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)


def _engine(
    name: str, kind: Kind, help: str, condition: str = ENGINE_CONDITION, **labels: Sequence[str]
) -> Foreign:
    ending = "_total" if kind == "counter" else ""
    return Foreign(name=f"ray_vllm_{name}{ending}", kind=kind, help=help, condition=condition, labels=labels)


RUNNING = _engine("num_requests_running", "gauge", "Requests that the engines work on.")
WAITING = _engine("num_requests_waiting", "gauge", "Requests that wait for a place in an engine.")
CACHE_USE = _engine("kv_cache_usage_perc", "gauge", "Share of the key-value cache in use, 1 for all of it.")
PROMPT_TOKENS = _engine("prompt_tokens", "counter", "Prompt tokens read, those found in the cache included.")
RESPONSE_TOKENS = _engine("generation_tokens", "counter", "Response tokens sampled.")
PREFIX_QUERIES = _engine("prefix_cache_queries", "counter", "Prompt tokens looked up in the prefix cache.")
PREFIX_HITS = _engine("prefix_cache_hits", "counter", "Prompt tokens found there.", ENGINE_EVENT)
IMAGE_QUERIES = _engine("mm_cache_queries", "counter", "Images looked up in the image cache.", ENGINE_EVENT)
IMAGE_HITS = _engine("mm_cache_hits", "counter", "Images found there.", ENGINE_EVENT)
PREEMPTED = _engine("num_preemptions", "counter", "Requests thrown out of the cache.", ENGINE_EVENT)
FINISHED = _engine("request_success", "counter", "Requests that ended, by the reason.", finished_reason=OPEN)
FIRST_TOKEN = _engine("time_to_first_token_seconds", "histogram", "From a request to its first token.")
TOKEN_GAP = _engine("inter_token_latency_seconds", "histogram", "Between two tokens of a request.")
LATENCY = _engine("e2e_request_latency_seconds", "histogram", "From a request to its last token.")
QUEUED = _engine("request_queue_time_seconds", "histogram", "That a request waited for a place.")
PREFILL = _engine("request_prefill_time_seconds", "histogram", "From its place to its first token.")
DECODE = _engine("request_decode_time_seconds", "histogram", "From its first token to its last.")
BATCH_TOKENS = _engine("iteration_tokens_total", "histogram", "Tokens in one step of an engine.")

ALERTS = Foreign(
    name="ALERTS",
    kind="gauge",
    help="Prometheus's own: 1 for each alert that is pending or firing.",
    condition="k8s/monitoring/rules.yaml is loaded, and an alert is pending or firing",
    labels={"alertname": OPEN, "alertstate": ("pending", "firing"), "severity": OPEN},
)

FOREIGN: Mapping[str, Foreign] = {
    series.name: series for series in list(vars().values()) if isinstance(series, Foreign)
}
