"""A Dockerfile's stages and what holds in each, and what a `.dockerignore` lets through.

For tests only: no more of the syntax than our own file uses.
"""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "k8s" / "Dockerfile"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One `FROM`: its name, its base (another stage's name or an image), its instructions (KEYWORD, text)."""

    name: str
    base: str
    instructions: list[tuple[str, str]]


def stages(text):
    """Return a Dockerfile's stages by name, in order; arguments before the first are put into the `FROM`s."""
    found, arguments = {}, {}
    for keyword, rest in _instructions(text):
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            base = Template(base).substitute(arguments)
            found[name] = stage = Stage(name=name, base=base, instructions=[])
        elif not found:
            assert keyword == "ARG", f"{keyword} before the first FROM"
            arguments |= [rest.split("=", 1)]
        else:
            stage.instructions.append((keyword, rest))
    return found


def _instructions(text):
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        if line.strip():
            keyword, _, rest = line.partition(" ")
            yield keyword, rest.strip()


def holding(found, name):
    """Return the instructions that hold in a stage: its bases' own come first."""
    stage = found[name]
    return [*(holding(found, stage.base) if stage.base in found else ()), *stage.instructions]


def last(instructions, keyword):
    """Return the text of an instruction of which only the last counts; None where there is none."""
    return next((rest for name, rest in reversed(instructions) if name == keyword), None)


def variables(instructions, keyword="ENV"):
    """Return the names and values that `ENV`, `ARG` or `LABEL` instructions give."""
    pairs = [pair for name, rest in instructions if name == keyword for pair in shlex.split(rest)]
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def health_command(instructions):
    """Return what `HEALTHCHECK` runs, as a list."""
    return json.loads(last(instructions, "HEALTHCHECK").partition("CMD ")[2])


def lets_through(ignore, path):
    """Whether a build's context holds a path: of a `.dockerignore`'s lines, the last that matches decides."""
    let = True
    for line in ignore.splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and _matches(pattern.removeprefix("!"), path):
            let = pattern.startswith("!")
    return let


def _matches(pattern, path):
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern)
    expression = "".join(
        parts.get(token, token if token.startswith("[") else re.escape(token)) for token in tokens
    )
    return re.fullmatch(f"{expression}(?:/.*)?", path) is not None
