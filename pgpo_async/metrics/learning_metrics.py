"""Metrics of learning: what each optimizer step said of the policy. Values are those of the last step."""

from collections.abc import Mapping

from pgpo_async.metrics.metric import OPEN, Metric, gauge

REWARD = gauge(
    "pgpo_reward",
    "",
    "Mean reward of all groups generated since the step before, filtered ones included, whole and by part.",
    part=OPEN,
)
ACCURACY = gauge("pgpo_accuracy_ratio", "ratio", "Share of right responses among those groups.")
HELD_OUT = gauge(
    "pgpo_held_out_accuracy_ratio",
    "ratio",
    "Accuracy on held-out prompts, before training, during it and after it.",
    "evaluation.num_prompts above 0; `during` with evaluation.every, `after` only once training has ended",
    when=("before", "during", "after"),
)
LOSS = gauge("pgpo_loss", "", "Policy loss with all its terms.")
GRADIENT_NORM = gauge("pgpo_gradient_norm", "", "Norm of the gradient before it is clipped.")
GRADIENT_VARIANCE = gauge(
    "pgpo_gradient_variance",
    "",
    "Estimated trace of the gradient's variance at the final norm, as shaped and as it would be unshaped.",
    "train.diagnostics_every above 0, in the steps it names",
    weights=("shaped", "unshaped"),
)
GRADIENT_SIGNAL = gauge(
    "pgpo_gradient_signal_to_noise",
    "",
    "Squared norm of the mean gradient by its variance, at the final norm.",
    "as pgpo_gradient_variance",
    weights=("shaped", "unshaped"),
)
LEARNING_RATE = gauge("pgpo_learning_rate", "", "AdamW's rate in the last step.")
ENTROPY = gauge("pgpo_entropy_nats", "nats", "Mean entropy of the policy at response tokens.")
CLIPPED = gauge(
    "pgpo_clipped_ratio",
    "ratio",
    "Share of response tokens whose policy ratio was clipped.",
    bound=("low", "high", "dual"),
)
POLICY_KL = gauge("pgpo_policy_kl_nats", "nats", "KL of the proximal policy to the current one (k3).")
REFERENCE_KL = gauge(
    "pgpo_reference_kl_nats",
    "nats",
    "KL to the model that the run started from.",
    "algorithm.kl_coef above 0",
)
MISMATCH_KL = gauge(
    "pgpo_mismatch_kl_nats",
    "nats",
    "KL of the generators' policy to the scorers' on the step's tokens (k3): lag and engines together.",
)
FRESH_MISMATCH_KL = gauge(
    "pgpo_fresh_mismatch_kl_nats",
    "nats",
    "The same where one version generated and scored: what the engines themselves disagree by.",
)
IMPORTANCE_WEIGHT = gauge("pgpo_importance_weight", "", "Mean importance weight after its cap.")
IMPORTANCE_LARGEST = gauge("pgpo_importance_largest", "", "Largest proximal by behaviour ratio, uncapped.")
IMPORTANCE_CAPPED = gauge(
    "pgpo_importance_capped_ratio", "ratio", "Share of tokens whose weight was cut off."
)
DEPENDENCY = gauge(
    "pgpo_dependency_nats", "nats", "Mean visual dependency of response tokens of prompts with images."
)
BOOSTED = gauge(
    "pgpo_boosted_ratio", "ratio", "Share of those tokens above PGPO's threshold; 0 for other shapers."
)
WEIGHT_LARGEST = gauge("pgpo_token_weight_largest", "", "Largest token weight of the step.")
ADVANTAGE_TOP = gauge(
    "pgpo_advantage_top_ratio",
    "ratio",
    "Share of the absolute advantage on the tenth of each response's tokens that depends most on the image.",
)
SHAPER = gauge(
    "pgpo_shaper", "", "What the shaper says of the step.", "a shaper of the whole batch", figure=OPEN
)
RESPONSE_TOKENS = gauge("pgpo_response_tokens", "tokens", "Mean length of the trained responses.")
TRUNCATED = gauge("pgpo_truncated_ratio", "ratio", "Share of trained responses cut at their limit.")
FILTERED = gauge("pgpo_filtered_ratio", "ratio", "Share of the groups that ended since the step before.")

FROM_LEARNER: Mapping[str, tuple[Metric, Mapping[str, str]]] = {
    "loss": (LOSS, {}),
    "grad_norm": (GRADIENT_NORM, {}),
    "grad_variance": (GRADIENT_VARIANCE, {"weights": "shaped"}),
    "grad_variance_unshaped": (GRADIENT_VARIANCE, {"weights": "unshaped"}),
    "grad_snr": (GRADIENT_SIGNAL, {"weights": "shaped"}),
    "grad_snr_unshaped": (GRADIENT_SIGNAL, {"weights": "unshaped"}),
    "lr": (LEARNING_RATE, {}),
    "entropy": (ENTROPY, {}),
    "clip_low_fraction": (CLIPPED, {"bound": "low"}),
    "clip_high_fraction": (CLIPPED, {"bound": "high"}),
    "dual_clip_fraction": (CLIPPED, {"bound": "dual"}),
    "policy_kl": (POLICY_KL, {}),
    "reference_kl": (REFERENCE_KL, {}),
    "mismatch_kl": (MISMATCH_KL, {}),
    "fresh_mismatch_kl": (FRESH_MISMATCH_KL, {}),
    "is_weight_mean": (IMPORTANCE_WEIGHT, {}),
    "is_ratio_max": (IMPORTANCE_LARGEST, {}),
    "is_capped_share": (IMPORTANCE_CAPPED, {}),
    "dependency_mean": (DEPENDENCY, {}),
    "boosted_share": (BOOSTED, {}),
    "weight_max": (WEIGHT_LARGEST, {}),
    "advantage_top_share": (ADVANTAGE_TOP, {}),
    "response_tokens_mean": (RESPONSE_TOKENS, {}),
    "truncated_share": (TRUNCATED, {}),
}
"""The learner's own names of them, and the labels that they stand for."""
