import ray

from pgpo_async.learner.rank_errors import root_cause


def test_a_dead_process_is_named_before_peers_that_lost_it():
    lost = RuntimeError("gloo: Connection closed by peer [10.0.0.1]")
    died = ray.exceptions.RayActorError()
    assert root_cause({0: lost, 1: died, 2: lost}) == (1, died)


def test_an_error_of_a_ranks_own_is_named_before_a_lost_connection():
    lost = RuntimeError("gloo: Connection closed by peer [10.0.0.1]")
    own = MemoryError("out of memory")
    assert root_cause({0: lost, 1: own}) == (1, own)
    assert root_cause({2: lost, 1: lost}) == (1, lost)
