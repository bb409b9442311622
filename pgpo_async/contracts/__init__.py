"""What crosses a process border: plain frozen types, their Arrow encoding, the error tree.

numpy and pyarrow only; every other room may import this one, it imports none.
"""

from pgpo_async.contracts.accounting import Accounting
from pgpo_async.contracts.arrow import decode, encode
from pgpo_async.contracts.errors import (
    ConfigError,
    JournalError,
    LeaseError,
    PgpoError,
    PromptError,
    RewardError,
    RewardTimeout,
    StageFailed,
    WaitTimeout,
    WeightError,
)
from pgpo_async.contracts.rollouts import (
    REFERENCE,
    GroupHeader,
    Prompt,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    TrainBatch,
    VersionSpan,
    content_hash,
)
from pgpo_async.contracts.weights import (
    BucketEntry,
    BucketPayload,
    BucketRoute,
    Publish,
    TensorEntry,
    WeightManifest,
    WeightVersion,
)

__all__ = [
    "REFERENCE",
    "Accounting",
    "BucketEntry",
    "BucketPayload",
    "BucketRoute",
    "ConfigError",
    "GroupHeader",
    "JournalError",
    "LeaseError",
    "PgpoError",
    "Prompt",
    "PromptError",
    "Publish",
    "RewardError",
    "RewardTimeout",
    "Rollout",
    "RolloutGroup",
    "ScoredGroup",
    "StageFailed",
    "TensorEntry",
    "TrainBatch",
    "VersionSpan",
    "WaitTimeout",
    "WeightError",
    "WeightManifest",
    "WeightVersion",
    "content_hash",
    "decode",
    "encode",
]
