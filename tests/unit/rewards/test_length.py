import pytest

from pgpo_async.rewards.length import overlong_penalty


def test_the_penalty_grows_over_the_buffer_and_nowhere_else():
    # DAPO eq. 13 with L_max 100 and L_cache 20.
    penalties = {n: overlong_penalty(n, max_tokens=100, buffer_tokens=20) for n in (0, 80, 85, 99, 100, 120)}
    assert penalties == pytest.approx({0: 0.0, 80: 0.0, 85: -0.25, 99: -0.95, 100: -1.0, 120: -1.0})


@pytest.mark.parametrize("buffer_tokens", [0, 101])
def test_a_buffer_beyond_the_response_is_refused(buffer_tokens):
    with pytest.raises(ValueError, match=r"buffer_tokens must be in \[1, 100\]"):
        overlong_penalty(5, max_tokens=100, buffer_tokens=buffer_tokens)
