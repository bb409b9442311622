import math

import pytest
import torch

from pgpo_async.algorithms.shaping import Signals, make_shaper, tor_weights

NAN = math.nan
# Ten tokens, so each top is of ceil(0.3 x 10) = 3. By entropy: 9, 8, 7. By gap: 6, 5, 4, of which the first
# is the token of entropy 9 and weighs 1 already.
ENTROPY = [[9.0, 1.0, 2.0, 8.0, NAN, NAN], [7.0, 3.0, 0.5, 0.0, 1.5, 2.5]]
GAP = [[6.0, 5.0, 0.1, 0.2, NAN, NAN], [0.3, 0.0, 4.0, 0.4, 3.0, 2.0]]
MASK = [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]
WEIGHTS = [[1, 0.5, 0, 1, 0, 0], [1, 0, 0.5, 0, 0, 0]]


def test_the_batch_worked_by_hand(dtype, matches):
    entropy, gap = torch.tensor(ENTROPY, dtype=dtype), torch.tensor(GAP, dtype=dtype)
    matches(tor_weights(entropy, gap, torch.tensor(MASK)), WEIGHTS)
    halved = tor_weights(entropy, gap, torch.tensor(MASK), top_fraction=0.1, perception_weight=0.25)
    # Tops of one: both are the first token.
    assert halved.tolist() == [[1, 0, 0, 0, 0, 0], [0] * 6]


def test_a_response_without_an_image_takes_part_by_its_entropy_alone():
    # As above, but the first row has no image: by gap 4, 3, 2 are left, all of the second row.
    signals = Signals(
        mask_BT=torch.tensor(MASK),
        has_image_B=torch.tensor([False, True]),
        entropy_BT=torch.tensor(ENTROPY),
        no_image_gap_BT=torch.tensor([[NAN] * 6, GAP[1]]),
    )
    shaped = make_shaper("tor").shape(signals)
    assert shaped.weights_BT.tolist() == [[1, 0, 0, 1, 0, 0], [1, 0, 0.5, 0, 0.5, 0.5]]
    got = {name: value.item() for name, value in shaped.metrics.items()}
    assert got == pytest.approx(
        {
            "num_tokens": 10,
            "weight_mean": 4.5 / 10,
            "weight_max": 1.0,
            "num_image_tokens": 6,
            "entropy_mean": 34.5 / 10,
            "no_image_gap_mean": 9.7 / 6,
            "reasoning_share": 3 / 10,
            "perception_share": 3 / 10,
        }
    )


def test_of_equal_tokens_the_earlier_row_then_the_earlier_token_is_taken():
    ones, mask = torch.ones(2, 4), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 0]])
    # ceil(0.5 x 6) = 3: the three of the first row; by gap it is the same three.
    assert tor_weights(ones, ones, mask, top_fraction=0.5).tolist() == [[0, 1, 1, 1], [0] * 4]
    # ceil(0.6 x 6) = 4, though 0.6 x 6 is 3.5999999999999996.
    assert tor_weights(ones, ones, mask, top_fraction=0.6).tolist() == [[0, 1, 1, 1], [1, 0, 0, 0]]


def test_a_signal_of_zero_is_in_no_top():
    zeros, mask = torch.zeros(2, 5), torch.ones(2, 5)
    assert tor_weights(zeros, zeros, mask).tolist() == zeros.tolist()
    one = zeros.clone()
    one[1, 3] = 0.1
    assert tor_weights(one, zeros, mask).tolist() == (one * 10).tolist()
    assert tor_weights(zeros - 1e-8, one, mask).tolist() == (one * 5).tolist()


def test_impossible_signals_and_parameters_are_named():
    ones = torch.ones(1, 2)
    with pytest.raises(ValueError, match="entropy_BT must be finite at response tokens"):
        tor_weights(ones * NAN, ones, ones)
    with pytest.raises(ValueError, match="no_image_gap_BT must be finite and not negative"):
        tor_weights(ones, -ones, ones)
    with pytest.raises(ValueError, match=r"no_image_gap_BT must have the shape of entropy_BT"):
        tor_weights(ones, ones[:0], ones)
    with pytest.raises(ValueError, match=r"top_fraction must be in \(0, 1\], got 0"):
        tor_weights(ones, ones, ones, top_fraction=0)
    with pytest.raises(ValueError, match=r"perception_weight must be in \[0, 1\], got 1.5"):
        tor_weights(ones, ones, ones, perception_weight=1.5)
