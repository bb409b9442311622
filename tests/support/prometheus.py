"""A Prometheus server of a test's own, from the machine's package; and what a test asks of it."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

NEEDED = ("prometheus", "promtool")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
WHY_SKIPPED = f"{' and '.join(MISSING)} not installed (Debian: apt-get install prometheus)"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Prometheus:
    """Scrapes `targets` ("host:port"), and what `also` names later, each second; evaluates `rules`."""

    def __init__(self, home, targets, rules=()):
        self._later = home / "later.json"
        self._later.write_text("[]")
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": "pgpo", "static_configs": [{"targets": list(targets)}]},
                {
                    "job_name": "ray",
                    "file_sd_configs": [{"files": [str(self._later)], "refresh_interval": "1s"}],
                },
            ],
        }
        path = home / "prometheus.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        self._log = (home / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={home / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        self._wait_until_ready()

    def _wait_until_ready(self):
        deadline_s = time.monotonic() + 60
        while True:
            try:
                return urllib.request.urlopen(f"{self._url}/-/ready", timeout=5).read()
            except OSError:
                assert self._process.poll() is None, "Prometheus ended"
                assert time.monotonic() < deadline_s, "Prometheus is not ready"
                time.sleep(0.2)

    def also(self, targets):
        """Scrape these from now on."""
        self._later.write_text(json.dumps([{"targets": list(targets)}]))

    def get(self, path, **parameters):
        """Return the data of an API call; an error it answers is raised with its text."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {json.load(error)['error']}") from error

    def names(self, start_s, end_s):
        """All metric names that had a sample in a time."""
        return set(self.get("label/__name__/values", start=start_s, end=end_s))

    def has_data(self, expression, start_s, end_s):
        """Whether an expression returns a number anywhere in a time. Raises where it does not parse."""
        found = self.get("query_range", query=expression, start=start_s, end=end_s, step="1")
        return any(value != "NaN" for series in found["result"] for _, value in series["values"])

    def close(self):
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
