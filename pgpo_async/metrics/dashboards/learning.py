"""Dashboard: what the policy learns."""

from pgpo_async.metrics import learning_metrics as learning
from pgpo_async.metrics.alerts import limits
from pgpo_async.metrics.dashboards.panel import RUNS, Dashboard, Panel, Query, Row, Threshold, curves

REWARD = Panel(
    title="Reward",
    unit="short",
    width=10,
    queries=curves("{{part}}", RUNS.now(learning.REWARD, "part")),
)
ACCURACY = Panel(
    title="Accuracy",
    unit="percentunit",
    width=7,
    most=1.0,
    queries=curves("accuracy", RUNS.now(learning.ACCURACY)),
)
HELD_OUT = Panel(
    title="Held-out accuracy",
    unit="percentunit",
    width=3,
    kind="stat",
    queries=curves("{{when}}", RUNS.now(learning.HELD_OUT, "when")),
)
FILTERED = Panel(
    title="Groups without signal",
    unit="percentunit",
    width=4,
    least=0.0,
    most=1.0,
    threshold=Threshold(value=limits.FILTERED_SHARE),
    queries=curves("filtered", RUNS.now(learning.FILTERED)),
)
ENTROPY = Panel(
    title="Entropy",
    unit="short",
    width=8,
    note="In nats.",
    least=0.0,
    threshold=Threshold(value=limits.ENTROPY_FLOOR, good="above"),
    queries=curves("entropy", RUNS.now(learning.ENTROPY)),
)
MISMATCH = Panel(
    title="Mismatch KL",
    unit="short",
    width=8,
    note="In nats. `fresh` is what the engines themselves disagree by, the other has the lag in it.",
    logarithmic=True,
    threshold=Threshold(value=limits.MISMATCH_KL),
    queries=(
        Query(expr=RUNS.now(learning.MISMATCH_KL), legend="all"),
        Query(expr=RUNS.now(learning.FRESH_MISMATCH_KL), legend="fresh"),
    ),
)

DASHBOARD = Dashboard(
    name="learning",
    title="Learning",
    about="What the policy learns. Values are those of the last step, so they stand still between two.",
    rows=(
        Row(title="Does it learn", height=8, panels=(REWARD, ACCURACY, HELD_OUT, FILTERED)),
        Row(
            title="The update",
            height=7,
            panels=(
                Panel(title="Loss", unit="short", width=6, queries=curves("loss", RUNS.now(learning.LOSS))),
                Panel(
                    title="Gradient norm",
                    unit="short",
                    width=6,
                    least=0.0,
                    queries=curves("norm", RUNS.now(learning.GRADIENT_NORM)),
                ),
                Panel(
                    title="Learning rate",
                    unit="short",
                    width=4,
                    least=0.0,
                    queries=curves("rate", RUNS.now(learning.LEARNING_RATE)),
                ),
                Panel(
                    title="Gradient variance",
                    unit="short",
                    width=4,
                    logarithmic=True,
                    queries=curves("{{weights}}", RUNS.now(learning.GRADIENT_VARIANCE, "weights")),
                ),
                Panel(
                    title="Gradient signal to noise",
                    unit="short",
                    width=4,
                    logarithmic=True,
                    queries=curves("{{weights}}", RUNS.now(learning.GRADIENT_SIGNAL, "weights")),
                ),
            ),
        ),
        Row(
            title="The policy",
            height=7,
            panels=(
                ENTROPY,
                Panel(
                    title="Clipped tokens",
                    unit="percentunit",
                    width=8,
                    least=0.0,
                    queries=curves("{{bound}}", RUNS.now(learning.CLIPPED, "bound")),
                ),
                Panel(
                    title="KL of the policy",
                    unit="short",
                    width=8,
                    note="In nats.",
                    least=0.0,
                    queries=(
                        Query(expr=RUNS.now(learning.POLICY_KL), legend="to the proximal policy"),
                        Query(expr=RUNS.now(learning.REFERENCE_KL), legend="to the reference"),
                    ),
                ),
            ),
        ),
        Row(
            title="Learning from older versions",
            height=7,
            panels=(
                MISMATCH,
                Panel(
                    title="Importance weights",
                    unit="short",
                    width=8,
                    logarithmic=True,
                    queries=(
                        Query(expr=RUNS.now(learning.IMPORTANCE_WEIGHT), legend="mean"),
                        Query(expr=RUNS.now(learning.IMPORTANCE_LARGEST), legend="largest"),
                    ),
                ),
                Panel(
                    title="Importance weights cut off",
                    unit="percentunit",
                    width=8,
                    least=0.0,
                    threshold=Threshold(value=limits.CAPPED_SHARE),
                    queries=curves("cut off", RUNS.now(learning.IMPORTANCE_CAPPED)),
                ),
            ),
        ),
        Row(
            title="What the image does",
            height=7,
            panels=(
                Panel(
                    title="Visual dependency",
                    unit="short",
                    width=5,
                    note="In nats.",
                    least=0.0,
                    queries=curves("dependency", RUNS.now(learning.DEPENDENCY)),
                ),
                Panel(
                    title="Tokens boosted",
                    unit="percentunit",
                    width=5,
                    least=0.0,
                    queries=curves("boosted", RUNS.now(learning.BOOSTED)),
                ),
                Panel(
                    title="Advantage on the most dependent tenth",
                    unit="percentunit",
                    width=5,
                    least=0.0,
                    queries=curves("share", RUNS.now(learning.ADVANTAGE_TOP)),
                ),
                Panel(
                    title="Largest token weight",
                    unit="short",
                    width=4,
                    least=0.0,
                    queries=curves("largest", RUNS.now(learning.WEIGHT_LARGEST)),
                ),
                Panel(
                    title="The shaper's figures",
                    unit="short",
                    width=5,
                    queries=curves("{{figure}}", RUNS.now(learning.SHAPER, "figure")),
                ),
            ),
        ),
        Row(
            title="Responses",
            height=7,
            panels=(
                Panel(
                    title="Response length",
                    unit="short",
                    width=12,
                    note="In tokens.",
                    least=0.0,
                    queries=curves("mean", RUNS.now(learning.RESPONSE_TOKENS)),
                ),
                Panel(
                    title="Truncated responses",
                    unit="percentunit",
                    width=12,
                    least=0.0,
                    queries=curves("truncated", RUNS.now(learning.TRUNCATED)),
                ),
            ),
        ),
    ),
)
