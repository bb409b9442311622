"""Check the summary of a finished demo run: `python .ci/check_summary.py RUNS_FOLDER`."""

import json
import sys
from pathlib import Path

(path,) = Path(sys.argv[1]).glob("*/summary.json")
summary = json.loads(path.read_text(encoding="utf-8"))
accounting = summary["accounting"]
ended = sum(count for name, count in accounting.items() if name != "drawn")
checks = {
    "completed": summary["status"] == "completed",
    "accuracy before at most 0.55": summary["accuracy_before"] <= 0.55,
    "accuracy after at least 0.85": summary["accuracy_after"] >= 0.85,
    "10 weight versions loaded in flight": summary["weight_versions_loaded"] >= 10,
    "some rollouts carry two versions": summary["rollouts_with_several_versions"] > 0,
    "lag seen, within its bound": 0 < summary["max_lag_seen"] <= summary["max_lag_allowed"],
    "accounting adds up": accounting["drawn"] == ended and summary["accounting_balanced"],
    "nothing left behind": summary["left_behind"] == [],
}
for name, holds in checks.items():
    print(f"{'ok  ' if holds else 'FAIL'} {name}")
if not all(checks.values()):
    print(json.dumps(summary, indent=2))
    raise SystemExit(1)
