"""`pgpo-async launch`: what a config asks for and is expected to come to, or its run.

Light until a run begins, so that a dry run works on a machine without Ray, vLLM or DeepSpeed at hand.
"""

from rich.console import Console

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.placement import plan_placement


def launch_run(config: RunConfig, *, dry_run: bool = False, resume: str = "never") -> int:
    """Run a config, or only print its placement and expectations; return the process's exit code.

    `resume`: see `resume`.

    Raises ConfigError before anything is started, PgpoError when a run cannot go on.
    """
    console = Console()
    if dry_run:
        from pgpo_async.orchestration.planning.dry_run import print_expectations

        console.print(plan_placement(config).table())
        print_expectations(config, console)
        return 0
    from pgpo_async.orchestration.preflight import check_inputs
    from pgpo_async.orchestration.resume import find_resume
    from pgpo_async.orchestration.run import Run
    from pgpo_async.orchestration.run_folder import RunFolder

    check_inputs(config)
    point = find_resume(config, resume)
    folder = RunFolder(config, existing=point.folder if point else None)
    goes_on = " (goes on)" if point else ""
    console.print(f"run folder: {folder.path}{goes_on}", soft_wrap=True)
    return Run(config, folder, console, tag=point.tag if point else None).run()
