import torch

from pgpo_async.learner.universal import _own_step_counts


def test_groups_that_were_given_one_step_count_count_for_themselves():
    parameters = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = torch.optim.AdamW(parameters)
    _update(optimizer, parameters)
    shared = torch.tensor(7.0)
    for parameter in parameters:
        optimizer.state[parameter]["step"] = shared
    _own_step_counts(optimizer)
    # As at ZeRO stage 3: one group's update after the other's.
    for parameter in parameters:
        _update(optimizer, [parameter])
    assert [float(optimizer.state[parameter]["step"]) for parameter in parameters] == [8.0, 8.0]


def _update(optimizer, parameters):
    for parameter in parameters:
        parameter.grad = torch.ones(3)
    optimizer.step()
    optimizer.zero_grad()
