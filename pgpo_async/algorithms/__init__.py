"""The algorithms as pure maths on tensors: no model, no process, no configuration; torch only.

    divergence            k3, the estimator that everything else uses
    visual_dependency     S_t from the sighted and the blind log-probs           (scorer)
    shaping/              token weights from such signals, one module per method  (scorer, learner)
    advantages            rewards of a group -> one advantage per response        (orchestration, learner)
    off_policy            corrects for generating with older or other numerics    (learner)
    losses                the scalar that the learner minimises                   (learner)
    loss_terms            what a method or a reference policy adds to it          (learner)
    aggregation           one mean over all micro-batches and ranks
    rows, tensors         ragged rows to tensors and back; checks and masking that all of them share

Shapes: `B` sequences, `T` response tokens, padded to the longest; `mask_BT` is 1 on response tokens and may
be bool, integer or float. Padding may hold anything, inf and nan too: it reaches no value and no gradient.
"""
