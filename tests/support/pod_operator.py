"""What the KubeRay operator (1.7) makes of a RayJob's groups: start commands, variables, the submitter.

Written from the operator's behaviour; the pods themselves are `support.pods`'s.
"""

import json
import shlex

from support.pod_spec import quantity, whole

GCS_PORT, DASHBOARD_PORT, AGENT_PORT, METRICS_PORT = 6379, 8265, 52365, 8080
HEAD_GROUP = "headgroup"
VALUED_SWITCHES = ("include-dashboard", "include-log-monitor", "log-color")
"""Of `ray start`: these take true or false, all others are given or left out."""


def ray_start(group, *, head=None):
    """Return the shell line that starts a group's Ray container.

    `group` is a `headGroupSpec` or one of `workerGroupSpecs`; `head` is the head's service or address, for
    workers.
    """
    limits = group["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
    params = {"metrics-export-port": str(METRICS_PORT), "dashboard-agent-listen-port": str(AGENT_PORT)}
    params |= {"dashboard-host": "0.0.0.0"} if head is None else {"address": f"{head}:{GCS_PORT}"}
    params |= group.get("rayStartParams") or {}
    params |= _of_resources(group.get("resources") or {})
    if group.get("labels"):
        params["labels"] = ",".join(f"{key}={value}" for key, value in sorted(group["labels"].items()))
    for flag, limit in (("num-cpus", "cpu"), ("memory", "memory"), ("num-gpus", "nvidia.com/gpu")):
        if flag not in params and limit in limits:
            params[flag] = str(whole(limits[limit]))
    params["block"] = "true"
    start = "ray start --head" if head is None else "ray start"
    flags = [flag for name, value in sorted(params.items()) if (flag := _flag(name, str(value)))]
    return " ".join(["ulimit -n ${RAY_START_ULIMIT_OPEN_FILES:-65536};", start, *flags])


def _of_resources(resources):
    params, others = {}, {}
    for name, amount in sorted(resources.items()):
        if name.lower() in ("cpu", "memory"):
            params["num-cpus" if name.lower() == "cpu" else "memory"] = str(whole(amount))
        elif name.lower().endswith("gpu"):
            params["num-gpus"] = str(whole(amount))
        else:
            others[name] = float(quantity(amount))
    return params | ({"resources": f"'{json.dumps(others)}'"} if others else {})


def _flag(name, value):
    if value.lower() in ("true", "false") and name not in VALUED_SWITCHES:
        return f"--{name}" if value.lower() == "true" else ""
    return f"--{name}={value}"


def operator_env(group, *, pod, cluster, head=None, token=None, namespace="default"):
    """Return the variables that the operator adds to a group's Ray container.

    `head` as for `ray_start`; `token` is the text of the secret that the operator makes for
    `authOptions.mode: token`.
    """
    declared = {entry["name"] for entry in group["template"]["spec"]["containers"][0].get("env", ())}
    of_their_own = {
        "RAY_PORT": str(GCS_PORT),
        "RAY_ADDRESS": f"{head or '127.0.0.1'}:{GCS_PORT}",
        "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
        "RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE": "1",
    }
    of_their_own |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token is not None else {}
    always = {
        "RAY_CLUSTER_NAME": cluster,
        "RAY_CLUSTER_NAMESPACE": namespace,
        "RAY_CLOUD_INSTANCE_ID": pod,
        "RAY_NODE_TYPE_NAME": group.get("groupName", HEAD_GROUP),
        "KUBERAY_GEN_RAY_START_CMD": ray_start(group, head=head).partition("; ")[2],
    }
    if head is not None:
        always |= {"FQ_RAY_IP": head, "RAY_IP": head.partition(".")[0]}
    return {key: value for key, value in of_their_own.items() if key not in declared} | always


def submit(pod, head, entrypoint, *, submission_id="pgpo", runtime_env=None):
    """Start a pod that submits a job and follows its log, as the operator's submitter Job does.

    Its exit status says nothing of the job's: ask `job_status`.
    """
    address = f"--address=http://{head}:{DASHBOARD_PORT}"
    environment = f"--runtime-env-json {shlex.quote(json.dumps(runtime_env))} " if runtime_env else ""
    pod.start(
        f"if ! ray job status {address} {submission_id} >/dev/null 2>&1; then "
        f"ray job submit {address} --no-wait --submission-id {submission_id} {environment}"
        f"-- {entrypoint}; fi; "
        f"ray job logs {address} --follow {submission_id}"
    )


ASK_STATUS = """
from ray.job_submission import JobSubmissionClient
job = JobSubmissionClient("{address}").get_job_info("{submission_id}")
print(job.status.value, job.message or "")
"""


def job_status(pod, head, *, submission_id="pgpo", timeout_s=60):
    """Return (status, message) of a job as the operator learns them; asked from a pod that has the token."""
    program = ASK_STATUS.format(address=f"http://{head}:{DASHBOARD_PORT}", submission_id=submission_id)
    said = pod.run(["python", "-c", program], timeout_s=timeout_s).stdout.splitlines()[-1]
    status, _, message = said.partition(" ")
    return status, message
