"""The `learner` room; import it as `pgpo_async.learner` (this folder is linked into the package)."""

if __name__ != "pgpo_async.learner":
    raise ImportError("import pgpo_async.learner, not learner: the bare name collides with other packages")
