"""A headless Chromium that opens a page from disk and says what it asked of the network and complained of."""

import json
import re
import shutil
import subprocess
from types import SimpleNamespace

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WHY_SKIPPED = "chromium is not installed (Debian: apt-get install chromium)"
OF_THE_PAGE = ("null", "file://")
"""Who begins a request of the page's; those of the browser itself have no origin."""


def open_page(path, home, *, size=(1400, 2000)):
    """Return `requests` of the page (URLs), `console` lines, `dom` after its scripts ran, `screenshot`."""
    netlog, screenshot = home / "netlog.json", home / f"{path.stem}.png"
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync",
        f"--user-data-dir={home / 'profile'}", f"--window-size={size[0]},{size[1]}",
        "--enable-logging=stderr",
        f"--log-net-log={netlog}", "--virtual-time-budget=4000",
    ]  # fmt: skip
    url = path.absolute().as_uri()
    done = subprocess.run(
        [*command, "--dump-dom", url], capture_output=True, text=True, timeout=120, check=True
    )
    requests = _requests(netlog, url)
    subprocess.run(
        [*command, f"--screenshot={screenshot}", url], capture_output=True, timeout=120, check=True
    )
    console = [line for line in done.stderr.splitlines() if re.search(r":CONSOLE[:(]", line)]
    return SimpleNamespace(requests=requests, console=console, dom=done.stdout, screenshot=screenshot)


def _requests(netlog, page):
    log = json.loads(netlog.read_text())
    start = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    started = [
        event["params"]
        for event in log["events"]
        if event["type"] == start and "url" in event.get("params", {})
    ]
    return [
        params["url"]
        for params in started
        if params.get("initiator") in OF_THE_PAGE and not params["url"].startswith(("data:", page))
    ]
