"""What a response loses for being long, so that a cut is never the first sign of it."""


def overlong_penalty(num_tokens: int, *, max_tokens: int, buffer_tokens: int) -> float:
    """0 up to `max_tokens - buffer_tokens` tokens, from there linearly down to -1 at `max_tokens`.

    Soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13). Raises ValueError for a buffer that is not in
    [1, max_tokens].
    """
    if not 1 <= buffer_tokens <= max_tokens:
        raise ValueError(f"buffer_tokens must be in [1, {max_tokens}], got {buffer_tokens}")
    beyond = num_tokens - (max_tokens - buffer_tokens)
    return -min(max(beyond / buffer_tokens, 0.0), 1.0)
