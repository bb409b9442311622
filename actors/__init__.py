"""The `actors` room; import it as `pgpo_async.actors` (this folder is linked into the package)."""

if __name__ != "pgpo_async.actors":
    raise ImportError("import pgpo_async.actors, not actors: the bare name collides with other packages")
