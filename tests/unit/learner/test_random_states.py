import random

import numpy as np
import torch

from pgpo_async.learner import random_states

CPU = torch.device("cpu")


def draws():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), float(torch.randn(1))


def test_every_generator_goes_on_where_it_was(tmp_path):
    # Half of a pair of normal numbers is kept by each generator, which its state must hold too.
    draws()
    random_states.write(tmp_path, 0, CPU)
    expected = [draws() for _ in range(3)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert [draws() for _ in range(3)] != expected
    random_states.restore(tmp_path, 0, CPU)
    assert [draws() for _ in range(3)] == expected


def test_each_rank_has_its_own(tmp_path):
    torch.manual_seed(3)
    random_states.write(tmp_path, 0, CPU)
    expected = draws()
    random_states.write(tmp_path, 1, CPU)
    other = draws()
    random_states.restore(tmp_path, 0, CPU)
    assert draws() == expected
    random_states.restore(tmp_path, 1, CPU)
    assert draws() == other
