"""A scorer's passes to signals: what each method asks for is what it gets, and what must wait, travels."""

from dataclasses import dataclass

import numpy as np
import pytest

from pgpo_async.algorithms.shaping import SHAPERS, BaseShaper, Shaped, make_shaper
from pgpo_async.algorithms.shaping.interface import SIGNAL_OF
from pgpo_async.contracts import REFERENCE, Prompt, Rollout, RolloutGroup, VersionSpan, decode, encode
from pgpo_async.policy.passes import GroupScores, Wanted
from pgpo_async.policy.signals import scored_group

LENGTHS = (5, 0, 3)


def rows(seed, low=-2.0, high=0.0):
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(low, high, length).astype(np.float32) for length in LENGTHS)


def scores_of(wanted):
    """Every row that was wanted, and no other."""
    values = {
        name: rows(i, *((0.0, 2.0) if name in ("kl", "entropy") else ()))
        for i, name in enumerate(("sighted", "blind", "kl", "masked", "no_image", "entropy", "similarity"))
    }
    return GroupScores(**{name: values[name] for name in wanted.names})


@pytest.fixture
def group():
    rollouts = tuple(
        Rollout(
            response_token_ids=np.arange(length, dtype=np.int32),
            behaviour_logprobs=row,
            version_spans=(VersionSpan(version=0, start=0, end=length),),
            finish_reason="stop",
            text="",
            reward=1.0,
        )
        for length, row in zip(LENGTHS, rows(9), strict=True)
    )
    prompt = Prompt(prompt_id="p", question="", answer="", images=(b"x",))
    return RolloutGroup(
        group_id="g", prompt=prompt, prompt_token_ids=np.array([1], np.int32), rollouts=rollouts
    )


@pytest.mark.parametrize("name", SHAPERS)
def test_each_method_gets_what_it_needs_now_or_sends_it_on(name, group):
    shaper = make_shaper(name)
    scored = scored_group(group, scores_of(Wanted.by(shaper)), shaper, version=3, progress=0.5)
    assert scored.scorer_version == 3
    if shaper.scope == "batch":
        assert set(scored.signals) == {SIGNAL_OF[need] for need in shaper.needs}
        assert all((row == 1).all() for row in scored.token_weights)
    else:
        assert not scored.signals
        assert {len(row) for row in scored.token_weights} == set(LENGTHS)
    if name == "pgpo":
        assert scored.token_weights[0].std() > 0.1
        assert scored.token_weights[0].sum() == pytest.approx(5, rel=1e-5)
    assert decode(encode(scored)) == scored


def test_the_dependency_shown_is_the_hidden_images_or_else_the_masked_ones(group):
    vppo, none = make_shaper("vppo"), make_shaper("none")

    def dependency(shaper, **options):
        wanted = Wanted.by(shaper, **options)
        scores = scores_of(wanted)
        shown = scored_group(group, scores, shaper, version=0, progress=0.0).dependency[0]
        return shown, scores

    def k3(other, sighted):
        log_ratio = (other - sighted).astype(np.float64)
        return np.exp(log_ratio) - 1 - log_ratio

    shown, scores = dependency(vppo)
    np.testing.assert_allclose(shown, k3(scores.masked[0], scores.sighted[0]), rtol=1e-4, atol=1e-6)
    shown, scores = dependency(vppo, measure=True)
    np.testing.assert_allclose(shown, k3(scores.blind[0], scores.sighted[0]), rtol=1e-4, atol=1e-6)
    shown, scores = dependency(none, measure=True, exact=True)
    np.testing.assert_allclose(shown, scores.kl[0])
    assert np.isnan(dependency(none)[0]).all()


def test_reference_log_probs_travel_beside_the_weights(group):
    shaper = make_shaper("pgpo")
    reference = rows(20)
    scored = scored_group(
        group, scores_of(Wanted.by(shaper)), shaper, version=0, progress=0.0, reference=reference
    )
    assert set(scored.signals) == {REFERENCE}
    assert all((a == b).all() for a, b in zip(scored.signals[REFERENCE], reference, strict=True))


def test_a_method_of_ones_own_sees_the_share_of_training_done_and_whether_there_is_an_image(group):
    seen = {}

    @dataclass(frozen=True)
    class Own(BaseShaper):
        name = "own"

        def shape(self, signals):
            seen.update(progress=signals.progress, images=signals.has_image_B.tolist())
            return Shaped(weights_BT=signals.mask_BT * 2.0, metrics={})

    scored = scored_group(group, scores_of(Wanted()), Own(), version=0, progress=0.25)
    assert seen == {"progress": 0.25, "images": [True] * 3}
    assert (scored.token_weights[0] == 2).all()
