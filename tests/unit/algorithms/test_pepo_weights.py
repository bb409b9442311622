import math

import pytest
import torch

from pgpo_async.algorithms.shaping import Signals, make_shaper, pepo_weights

EXP, NAN = math.exp, math.nan


def softmax_times_count(logits):
    total = sum(EXP(x) for x in logits)
    return [len(logits) * EXP(x) / total for x in logits]


# Row 0: minmax(v) = (1, 0, 0.5), minmax(H) = (0.5, 1, 0): m = (1.5, 1, 0.5), mean 1, so the gate of the first
# is 1 + 0.05 tanh(0.5), of the second 1, of the third 1 - 0.05 tanh(0.5).
# Row 1: v is flat and gives 0s, minmax(H) = (0, 1), mean 0.5: gates 1 -+ 0.05 tanh(0.5) on v = 0.36.
GATE = 0.05 * math.tanh(0.5)
SIMILARITY = [[0.9, 0.1, 0.5], [0.36, 0.36, NAN]]
ENTROPY = [[1.0, 2.0, 0.0], [0.3, 0.7, math.inf]]
MASK = [[1, 1, 1], [1, 1, 0]]
WEIGHTS = [
    softmax_times_count([0.9 * (1 + GATE) / 1.8, 0.1 / 1.8, 0.5 * (1 - GATE) / 1.8]),
    [*softmax_times_count([0.36 * (1 - GATE) / 1.8, 0.36 * (1 + GATE) / 1.8]), 0.0],
]


def test_the_responses_worked_by_hand(dtype, matches):
    signals = torch.tensor(SIMILARITY, dtype=dtype), torch.tensor(ENTROPY, dtype=dtype), torch.tensor(MASK)
    matches(pepo_weights(*signals, progress=1.0), WEIGHTS)
    # A quarter of the way, a weight w has become 0.75 + 0.25 w.
    faded = torch.tensor(MASK) * (0.75 + 0.25 * torch.tensor(WEIGHTS, dtype=torch.float64))
    matches(pepo_weights(*signals, progress=0.25), faded.tolist())
    assert pepo_weights(*signals, progress=0.0).tolist() == MASK


def test_without_a_gate_only_the_similarity_counts():
    # softmax of (ln 3, 0) is (3/4, 1/4), of two tokens: weights 1.5 and 0.5.
    similarity = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    got = pepo_weights(
        similarity, similarity.flip(1), similarity == similarity, progress=1, alpha=0, temperature=1
    )
    torch.testing.assert_close(got, torch.tensor([[1.5, 0.5]], dtype=torch.float64))


def test_of_equally_similar_tokens_the_less_certain_weighs_more():
    similarity, entropy = torch.full((1, 3), 0.5), torch.tensor([[0.1, 2.0, 0.7]])
    weights = pepo_weights(similarity, entropy, torch.ones(1, 3), progress=1.0)[0]
    assert weights[1] > weights[2] > weights[0]


def test_rounding_noise_is_no_spread():
    noise = torch.tensor([[0.0, 5e-7, 1e-7]], dtype=torch.float64)
    weights = pepo_weights(noise, 2 + noise, torch.ones(1, 3), progress=1.0)
    torch.testing.assert_close(weights, torch.ones_like(weights), rtol=0, atol=1e-6)


def test_the_shaper_reads_progress_and_reports_what_it_saw():
    signals = Signals(
        mask_BT=torch.tensor([[1, 1], [1, 1]]),
        has_image_B=torch.tensor([True, False]),
        similarity_BT=torch.tensor([[0.36, 0.36], [NAN, 0.9]], dtype=torch.float64),
        entropy_BT=torch.tensor([[0.3, 0.7], [NAN, 1.0]], dtype=torch.float64),
        progress=1.0,
    )
    shaped = make_shaper("pepo").shape(signals)
    expected = torch.tensor([WEIGHTS[1][:2], [1, 1]], dtype=torch.float64)
    torch.testing.assert_close(shaped.weights_BT, expected)
    got = {name: value.item() for name, value in shaped.metrics.items()}
    assert got == pytest.approx(
        {
            "num_tokens": 4,
            "weight_mean": 1.0,
            "weight_max": WEIGHTS[1][1],
            "num_image_tokens": 2,
            "similarity_mean": 0.36,
            "entropy_mean": 0.5,
        }
    )


def test_impossible_signals_and_parameters_are_named():
    ones = torch.ones(1, 2)
    with pytest.raises(ValueError, match="similarity_BT must be finite at response tokens"):
        pepo_weights(ones * NAN, ones, ones, progress=1.0)
    with pytest.raises(ValueError, match="entropy_BT must be finite at response tokens"):
        pepo_weights(ones, ones * math.inf, ones, progress=1.0)
    with pytest.raises(ValueError, match="mask_BT must have the shape of similarity_BT"):
        pepo_weights(ones, ones, ones[:0], progress=1.0)
    with pytest.raises(ValueError, match=r"progress must be in \[0, 1\], got 1.1"):
        pepo_weights(ones, ones, ones, progress=1.1)
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 2"):
        pepo_weights(ones, ones, ones, progress=1.0, alpha=2)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        pepo_weights(ones, ones, ones, progress=1.0, temperature=0)
