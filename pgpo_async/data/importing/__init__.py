"""Known data sets as files that the rest reads: `pgpo-async data import NAME --output FILE.parquet`.

`KNOWN_SETS` names them, `BENCHMARKS` are those of the suite `pgpo`, the paper's columns in the paper's order.
An imported file is Parquet, a row a prompt, and `data.source` and `evaluation.source` take it as it is:

    images    list of {bytes, path}   encoded; in the order of the problem's `<image>` markers; may be empty
    problem   text                    the question, its choices as lettered lines behind it
    answer    text                    the reference; the letter where there are choices
    id        text                    the published id, unique in the file
    category  text or null            what the set's tables are broken down by: subject, skill, version, ...
    choices   list of texts or null   where the set keeps them apart, in the order of their letters
    group     text or null            rows that a set also scores together have the same one

`read_labels` gives what is not part of a prompt (`id`, `category`, `choices`, `group`) by prompt id. The
file's metadata (`read_origin`) say what it was made of, and how many rows were left out for which reason.
"""

from pgpo_async.data.importing.imported_file import Labels, Origin, read_labels, read_origin
from pgpo_async.data.importing.known_sets import BENCHMARKS, KNOWN_SETS, SUITES, known_set
from pgpo_async.data.importing.set_types import KnownSet

__all__ = [
    "BENCHMARKS",
    "KNOWN_SETS",
    "SUITES",
    "KnownSet",
    "Labels",
    "Origin",
    "known_set",
    "read_labels",
    "read_origin",
]
