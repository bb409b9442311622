"""What Ray wraps around an error raised in another process."""


def plain(error: BaseException) -> BaseException:
    """Return the error as it was raised over there, without Ray's traceback around it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
