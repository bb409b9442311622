from pgpo_async.orchestration.doctor.parity import Agreement, reason_to_skip, verdict

GIB = 1 << 30
NEAR = Agreement(num_tokens=300, kl=2e-6, slope=1.0, largest=0.016)


def test_engines_that_agree_are_told_with_figures_and_limit(config):
    line = verdict(config(), NEAR)
    assert line.level == "ok"
    for text in ("2e-06", "0.016", "300 tokens", "0.1"):
        assert text in line.found


def test_engines_that_differ_are_an_error_with_the_guards_likely_cause(config):
    far = Agreement(num_tokens=300, kl=0.4, slope=0.5, largest=3.0)
    line = verdict(config(), far)
    assert line.level == "error"
    assert "likely another temperature" in line.found
    assert "0.50 times" in line.found
    never = Agreement(num_tokens=300, kl=0.4, slope=1.0, largest=3.0)
    assert "likely precision, or another model in the engine" in verdict(config(), never).found
    assert verdict(config("train.guard.max_mismatch_kl=0.5"), far).level == "ok"
    assert verdict(config(), Agreement(num_tokens=0, kl=0.0, slope=1.0, largest=0.0)).level == "error"


def test_a_trial_is_left_out_where_it_cannot_be_or_takes_too_long(config):
    here = config()

    def reason(run, **changes):
        return reason_to_skip(run, **{"model_bytes": GIB, "num_gpus": 0, "free_bytes": 100 * GIB, **changes})

    assert reason(here) is None
    assert reason(here, model_bytes=None) == "the model is not on this machine"
    assert reason(config("generator.gpus=1")) == "1 GPUs are asked for, 0 are here"
    assert reason(config("generator.gpus=1", "scorer.gpus=1"), num_gpus=1, model_bytes=60 * GIB) is None
    assert "too long on a CPU" in reason(here, model_bytes=9 * GIB)
    assert "too little" in reason(here, free_bytes=GIB)
