"""A whole run around stages that sleep, as a program: what `bench chaos` and tests kill and resume.

    python -m pgpo_async.bench.sleeping_run CONFIG [auto|never|PATH]

As `launch`, with the actors of `sleeping_stages`; `write_times` into the config's output_dir comes first.
"""

import sys

from pgpo_async.told import told_in_a_line


def main(config_path: str, resume: str = "never") -> int:
    """Run; return the exit code."""
    from rich.console import Console

    from pgpo_async.bench.sleeping_stages import SLEEPING
    from pgpo_async.config import load_config
    from pgpo_async.orchestration.resume import find_resume
    from pgpo_async.orchestration.run import Run
    from pgpo_async.orchestration.run_folder import RunFolder

    config = load_config(config_path)
    point = find_resume(config, resume)
    folder = RunFolder(config, existing=point.folder if point else None)
    tag = point.tag if point else None
    return Run(config, folder, Console(width=200), tag=tag, roles=SLEEPING).run()


if __name__ == "__main__":
    with told_in_a_line():
        raise SystemExit(main(*sys.argv[1:]))
