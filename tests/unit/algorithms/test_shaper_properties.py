"""What holds for every shaper, by whatever signals: no shaper is named where the property is of all."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.algorithms.shaping import SHAPERS, Signals, make_shaper
from pgpo_async.algorithms.shaping.interface import SIGNAL_OF

# No deadline: the machine is shared, and the first torch call of a process takes its time.
quick = settings(deadline=None, max_examples=40)
FIELDS = ("dependency_BT", "masked_dependency_BT", "no_image_gap_BT", "entropy_BT", "similarity_BT")
BY_IMAGE = set(FIELDS) - {"entropy_BT"}
PER_RESPONSE = sorted(name for name in SHAPERS if make_shaper(name).scope == "response")
NO_MASS = {"vppo", "tor"}

names = st.sampled_from(sorted(SHAPERS))
garbage = st.sampled_from([math.nan, math.inf, -math.inf, -5.0])
# One value for each signal; 0 and repeats are common, as in real data.
values = st.tuples(*[st.one_of(st.sampled_from([0.0, 0.1, 1.0]), st.floats(0, 10))] * 4, st.floats(-1, 1))
responses = st.lists(
    st.tuples(st.booleans(), st.lists(values, max_size=7)), max_size=5
)  # whether it has an image, its tokens


@st.composite
def distinct_responses(draw):
    """Responses of which no two tokens are equal in any signal."""
    lengths = draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    ranks = [draw(st.permutations(range(1, sum(lengths) + 1))) for _ in FIELDS]
    tokens = iter(zip(*([rank / 31 for rank in signal] for signal in ranks), strict=True))
    return [(draw(st.booleans()), [next(tokens) for _ in range(length)]) for length in lengths]


def build(rows, *, extra=0, fill=0.0, progress=0.7):
    """Signals of these responses; padding, and what an image would give where there is none, hold `fill`."""
    width = max((len(tokens) for _, tokens in rows), default=0) + extra
    tensors = {name: torch.full((len(rows), width), fill, dtype=torch.float64) for name in FIELDS}
    mask = torch.zeros(len(rows), width)
    for i, (has_image, tokens) in enumerate(rows):
        mask[i, : len(tokens)] = 1
        for name, column in zip(FIELDS, zip(*tokens, strict=True), strict=False):
            if has_image or name not in BY_IMAGE:
                tensors[name][i, : len(tokens)] = torch.tensor(column, dtype=torch.float64)
    has_image_B = torch.tensor([has_image for has_image, _ in rows], dtype=torch.bool)
    return Signals(mask_BT=mask, has_image_B=has_image_B, progress=progress, **tensors)


def weigh(name, signals):
    return make_shaper(name).shape(signals).weights_BT.double()


def same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@quick
@given(names, responses, garbage)
def test_weights_and_metrics_are_finite_and_padding_weighs_nothing(name, rows, fill):
    signals = build(rows, extra=1, fill=fill)
    shaped = make_shaper(name).shape(signals)
    assert shaped.weights_BT.shape == signals.mask_BT.shape
    assert not shaped.weights_BT.requires_grad
    assert shaped.weights_BT.isfinite().all()
    assert (shaped.weights_BT >= 0).all()
    assert (shaped.weights_BT[signals.mask_BT == 0] == 0).all()
    for value in shaped.metrics.values():
        assert value.shape == ()
        assert math.isfinite(value.item())


@quick
@given(st.sampled_from(sorted(set(SHAPERS) - NO_MASS)), responses, st.floats(0, 1))
def test_each_response_keeps_the_mass_of_its_tokens(name, rows, progress):
    signals = build(rows, progress=progress)
    same(weigh(name, signals).sum(1), signals.mask_BT.sum(1).double())


@quick
@given(names, responses, garbage)
def test_more_padding_and_what_it_holds_change_nothing(name, rows, fill):
    tight, wide = build(rows), build(rows, extra=3, fill=fill)
    width = tight.mask_BT.shape[1]
    same(weigh(name, wide)[:, :width], weigh(name, tight))


@quick
@given(names, distinct_responses(), st.randoms(use_true_random=False))
def test_the_order_of_the_responses_does_not_matter(name, rows, random):
    order = random.sample(range(len(rows)), len(rows))
    same(weigh(name, build([rows[i] for i in order])), weigh(name, build(rows))[order])


@quick
@given(st.sampled_from(PER_RESPONSE), responses, garbage)
def test_streaming_response_by_response_equals_the_whole_batch(name, rows, fill):
    batch = weigh(name, build(rows, extra=1, fill=fill))
    for i, row in enumerate(rows):
        same(weigh(name, build([row]))[0], batch[i, : len(row[1])])


@quick
@given(distinct_responses(), st.sampled_from([0.0, 0.4, 1.0]))
def test_pgpos_weights_are_in_the_order_of_dependency(rows, tau):
    # PGPO, appendix H, and with it appendix G: a higher dependency never weighs less.
    signals = build([(True, tokens) for _, tokens in rows])
    weights = make_shaper("pgpo", tau=tau).shape(signals).weights_BT
    for i, (_, tokens) in enumerate(rows):
        assert signals.dependency_BT is not None
        order = signals.dependency_BT[i, : len(tokens)].argsort()
        assert (weights[i, order].diff() > 0).all()


@quick
@given(responses)
def test_vppo_never_keeps_a_less_dependent_token_and_drops_a_more_dependent(rows):
    signals = build([(True, tokens) for _, tokens in rows])
    weights = weigh("vppo", signals)
    for i, (_, tokens) in enumerate(rows):
        assert signals.masked_dependency_BT is not None
        dependency, row = signals.masked_dependency_BT[i, : len(tokens)], weights[i, : len(tokens)]
        assert (row > 0).sum() == math.ceil(0.4 * len(tokens))
        if (row == 0).any():
            assert dependency[row > 0].min() >= dependency[row == 0].max()


@pytest.mark.parametrize("name", sorted(SHAPERS))
@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0), (2, 3)])
def test_nothing_gets_no_weights(name, shape):
    nothing = torch.zeros(shape)
    signals = Signals(
        mask_BT=nothing, has_image_B=torch.ones(shape[0]).bool(), **dict.fromkeys(FIELDS, nothing)
    )
    assert torch.equal(make_shaper(name).shape(signals).weights_BT, nothing)


@pytest.mark.parametrize("name", sorted(SHAPERS))
def test_a_lone_token_weighs_one(name):
    assert weigh(name, build([(True, [(0.5, 0.5, 0.5, 0.5, 0.5)])])).tolist() == [[1]]


@pytest.mark.parametrize("name", sorted(set(SHAPERS) - NO_MASS))
def test_equal_tokens_weigh_one(name):
    rows = [(True, [(0.5, 0.5, 0.5, 0.5, 0.5)] * length) for length in (3, 1, 4)]
    signals = build(rows)
    same(weigh(name, signals), signals.mask_BT.double())


@pytest.mark.parametrize("name", sorted(set(SHAPERS) - {"tor"}))
def test_without_an_image_every_token_weighs_one(name):
    rows = [(False, [(math.nan, math.nan, math.nan, float(t), math.nan) for t in range(4)])] * 2
    assert weigh(name, build(rows, fill=math.nan)).tolist() == torch.ones(2, 4).tolist()


@pytest.mark.parametrize("name", sorted(SHAPERS))
def test_a_signal_that_was_asked_for_must_be_there(name):
    shaper = make_shaper(name)
    for need in shaper.needs:
        given = {field: torch.ones(1, 2) for field in FIELDS if field != SIGNAL_OF[need]}
        signals = Signals(mask_BT=torch.ones(1, 2), has_image_B=torch.tensor([True]), **given)
        with pytest.raises(ValueError, match=f"{SIGNAL_OF[need]} must be a tensor for {name}, got None"):
            shaper.shape(signals)
