"""Which charts over steps a report has: for each its figures, how they are called and written.

Owns the choice and the words. A chart of which a run measured nothing is left out, and named. Drawn by
`curves`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A figure of `metrics.jsonl`, what it is called in its chart, and its colour there."""

    key: str
    label: str
    series: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One chart; all its figures are written in one form (`formats.FORMATS`)."""

    name: str
    title: str
    lines: tuple[Line, ...]
    form: str = "number"
    log: bool | None = False
    """None: where the largest value is far above the usual one."""
    from_zero: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PanelGroup:
    """Charts that answer one question."""

    title: str
    panels: tuple[Panel, ...]


def _share(name: str, title: str, *lines: Line, note: str = "") -> Panel:
    return Panel(name=name, title=title, lines=lines, form="share", from_zero=True, note=note)


_LEARNING = (
    Panel(
        name="reward",
        title="Reward",
        lines=(
            Line(key="reward", label="all groups generated", series=1),
            Line(key="learner/reward_mean", label="groups trained", series=2),
        ),
        note="Groups without signal are generated, and filtered before training.",
    ),
    Panel(name="reward-parts", title="Parts of the reward", lines=()),  # filled by `curves` from the run
    _share("accuracy", "Accuracy in training", Line(key="accuracy", label="all groups generated")),
    Panel(
        name="length",
        title="Response length (tokens)",
        lines=(
            Line(key="queue/response_tokens", label="generated", series=1),
            Line(key="learner/response_tokens_mean", label="trained", series=2),
        ),
    ),
    _share(
        "truncated",
        "Truncated responses, filtered groups",
        Line(key="learner/truncated_share", label="truncated", series=2),
        Line(key="queue/filtered_share", label="filtered", series=1),
    ),
    Panel(
        name="dependency",
        title="Visual dependency (mean a token)",
        lines=(
            Line(key="learner/dependency_mean", label="mean", series=1),
            Line(key="learner/dependency_log_mean", label="mean of log(1 + S)", series=3),
        ),
        from_zero=True,
    ),
    _share(
        "boosted",
        "Where the advantage goes",
        Line(key="learner/boosted_share", label="tokens boosted", series=1),
        Line(key="learner/advantage_top_share", label="advantage on the top tenth", series=2),
        note="Tokens above the shaper's threshold; advantage on the tenth of most dependent tokens.",
    ),
    Panel(
        name="weight-max",
        title="Largest token weight",
        lines=(Line(key="learner/weight_max", label="largest"),),
        log=None,
        from_zero=True,
    ),
)

_UPDATES = (
    Panel(name="loss", title="Loss", lines=(Line(key="learner/loss", label="loss"),)),
    Panel(
        name="grad-norm",
        title="Gradient norm",
        lines=(Line(key="learner/grad_norm", label="norm, before clipping"),),
        log=None,
        from_zero=True,
    ),
    Panel(
        name="entropy",
        title="Entropy (nats a token)",
        lines=(Line(key="learner/entropy", label="entropy"),),
        from_zero=True,
    ),
    _share(
        "clip",
        "Clipped tokens",
        Line(key="learner/clip_low_fraction", label="low", series=1),
        Line(key="learner/clip_high_fraction", label="high", series=2),
        Line(key="learner/dual_clip_fraction", label="dual", series=3),
    ),
    Panel(
        name="grad-variance",
        title="Gradient variance",
        lines=(
            Line(key="learner/grad_variance", label="shaped", series=1),
            Line(key="learner/grad_variance_unshaped", label="unshaped", series=2),
        ),
        log=True,
        note="Estimated at the final norm's weights, every train.diagnostics_every steps.",
    ),
    Panel(
        name="grad-snr",
        title="Gradient signal to noise",
        lines=(
            Line(key="learner/grad_snr", label="shaped", series=1),
            Line(key="learner/grad_snr_unshaped", label="unshaped", series=2),
        ),
        from_zero=True,
    ),
    Panel(name="lr", title="Learning rate", lines=(Line(key="learner/lr", label="rate"),), from_zero=True),
)

_OFF_POLICY = (
    Panel(
        name="lag",
        title="Lag (optimizer steps)",
        lines=(
            Line(key="lag_mean", label="mean", series=1),
            Line(key="lag_max", label="largest", series=2),
        ),
        from_zero=True,
    ),
    Panel(
        name="mismatch",
        title="KL divergences (nats a token)",
        lines=(
            Line(key="learner/fresh_mismatch_kl", label="engine mismatch, lag 0", series=2),
            Line(key="learner/mismatch_kl", label="behaviour to proximal", series=1),
            Line(key="learner/policy_kl", label="proximal to policy", series=3),
            Line(key="learner/reference_kl", label="to reference", series=4),
        ),
        log=True,
    ),
    Panel(
        name="importance",
        title="Importance weights",
        lines=(
            Line(key="learner/is_weight_mean", label="mean", series=1),
            Line(key="learner/is_ratio_max", label="largest, before the cap", series=2),
        ),
        log=None,
    ),
    _share(
        "capped", "Importance weights cut off", Line(key="learner/is_capped_share", label="share of tokens")
    ),
)

_SPEED = (
    Panel(
        name="step-time",
        title="Step time",
        lines=(
            Line(key="step_s", label="step", series=1),
            Line(key="learner_wait_s", label="learner waited", series=2),
            Line(key="learner/busy_s", label="learner worked", series=3),
        ),
        form="seconds",
        log=None,
        from_zero=True,
    ),
    Panel(
        name="learner-parts",
        title="What the learner does",
        lines=(
            Line(key="learner/forward_s", label="forward", series=1),
            Line(key="learner/backward_s", label="backward", series=2),
            Line(key="learner/optimizer_s", label="optimizer", series=3),
            Line(key="learner/fetch_s", label="fetching", series=5),
            Line(key="learner/publish_blocked_s", label="publishing", series=4),
        ),
        form="seconds",
        log=None,
        from_zero=True,
    ),
    Panel(
        name="tokens",
        title="Tokens trained a second",
        lines=(Line(key="tokens_per_s", label="response tokens"),),
        from_zero=True,
    ),
)

GROUPS = (
    PanelGroup(title="Does it learn?", panels=_LEARNING),
    PanelGroup(title="Are the updates sound?", panels=_UPDATES),
    PanelGroup(title="How far off policy?", panels=_OFF_POLICY),
    PanelGroup(title="How fast?", panels=_SPEED),
)

NOT_PARTS = frozenset({"reward", "accuracy", "response_tokens", "num_groups", "filtered_share"})
"""Figures under `queue/` that are no part of the reward, or have a chart of their own."""
