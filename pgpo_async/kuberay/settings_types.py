"""Texts of a form that Kubernetes asks for, as types of settings. Knows no setting."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

MAX_JOB_NAME = 47
"""KubeRay appends what makes 53 of it: the longest name of a Ray cluster."""


def _of_form(pattern: str, what: str, longest: int = 253) -> AfterValidator:
    """Refuse texts of another form; the error's words end in what was given."""

    def checked(text: str) -> str:
        if len(text) > longest or not re.fullmatch(pattern, text):
            raise PydanticCustomError("text_form", "must be {what}", {"what": what})
        return text

    return AfterValidator(checked)


Name = Annotated[str, _of_form(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", "a name of a-z, 0-9 and dashes", 63)]
"""A DNS label."""
JobName = Annotated[
    str,
    _of_form(
        r"[a-z]([-a-z0-9]*[a-z0-9])?",
        f"a name of a-z, 0-9 and dashes that begins with a letter, of at most {MAX_JOB_NAME} characters",
        MAX_JOB_NAME,
    ),
]
"""What KubeRay takes as a RayJob's name."""
Quantity = Annotated[str, _of_form(r"[0-9]+(\.[0-9]+)?(m|[kMGTPE]|[KMGTPE]i)?", "a quantity as 500Gi")]
"""Kubernetes' number with a unit."""
SecretKey = Annotated[
    str, _of_form(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[-._a-zA-Z0-9]+", "NAME/KEY of a Secret that is there")
]
"""A Secret's value is never written into a manifest."""
Image = Annotated[
    str,
    _of_form(
        r"\S+?(:(?!latest$)[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})",
        "an image with a tag or digest, not latest",
    ),
]
"""What a pod runs today is what it runs tomorrow."""
VariableName = Annotated[str, _of_form(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable")]


def as_job_name(text: str) -> str:
    """Return a run's name as a RayJob's."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    name = name if name[:1].isalpha() else f"run-{name}".rstrip("-")
    return name[:MAX_JOB_NAME].rstrip("-")
