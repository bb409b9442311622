"""Shapers of the user's own, named by `module:Class` or `path/to/file.py:Class`.

Owns finding and checking them. Called by `registry`. Each process loads the class by that name: an
instance of a file's class cannot be pickled to a process that has not.
"""

from collections.abc import Callable, Set
from types import ModuleType
from typing import get_args

from pgpo_async.algorithms.shaping.interface import ImageMasking, LossTerms, Need, Scope, Shaper
from pgpo_async.algorithms.shaping.names import did_you_mean, listed, nearest
from pgpo_async.contracts.by_name import import_place, missing_file

MEMBERS = ("name", "needs", "scope", "entropy_top_p", "masking", "loss_terms", "shape")
"""What `interface.Shaper` declares; `interface.BaseShaper` has all but `name` and `shape`."""


def load_shaper_class(spec: str) -> Callable[..., Shaper]:
    """Return the class. Its module is imported, once a process.

    Raises:
        ValueError: the module cannot be imported, has no such class (the message offers the nearest), or the
            class lacks a member of `interface.Shaper`.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError(f"shaper must be 'module:Class' or 'path/to/file.py:Class', got {spec!r}")
    module = _import(place, spec)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ValueError(f"shaper must name a class of {place}, got {name!r}{did_you_mean(name, classes)}")
    own = [key for key in dir(found) if not key.startswith("_") and key not in MEMBERS]
    for member in MEMBERS:
        if not hasattr(found, member):
            misspelt = nearest(member, own)
            got = "" if misspelt is None else f", got {misspelt!r}"
            raise ValueError(f"class of shaper {spec!r} must have {member!r}{got}")
    return found


def check_declarations(shaper: Shaper, spec: str) -> None:
    """Check that what a loaded shaper declares is something that scorer and learner know.

    Raises:
        ValueError: which declaration is wrong; the message offers the nearest known value.
    """

    def refuse(member: str, wanted: str, got: object, hint: str = "") -> ValueError:
        return ValueError(f"{member} of shaper {spec!r} must be {wanted}, got {got!r}{hint}")

    known = get_args(Need)
    if not isinstance(shaper.name, str):
        raise refuse("name", "text", shaper.name)
    if not isinstance(shaper.needs, Set):
        raise refuse("needs", "a set", shaper.needs)
    for need in shaper.needs:
        if need not in known:
            raise refuse("needs", f"among {listed(known)}", need, did_you_mean(str(need), known))
    if shaper.scope not in get_args(Scope):
        hint = did_you_mean(str(shaper.scope), get_args(Scope))
        raise refuse("scope", f"one of {listed(get_args(Scope))}", shaper.scope, hint)
    top_p = shaper.entropy_top_p
    if not isinstance(top_p, int | float) or not 0 < top_p <= 1:
        raise refuse("entropy_top_p", "in (0, 1]", top_p)
    if not isinstance(shaper.loss_terms, LossTerms):
        raise refuse("loss_terms", "LossTerms", shaper.loss_terms)
    masks = "masked_image" in shaper.needs or shaper.loss_terms.needs_masked_pass
    if not isinstance(shaper.masking, ImageMasking) and (masks or shaper.masking is not None):
        raise refuse("masking", "ImageMasking" if masks else "ImageMasking, or None", shaper.masking)
    if not callable(shaper.shape):
        raise refuse("shape", "a method", shaper.shape)


def _import(place: str, spec: str) -> ModuleType:
    if (missing := missing_file(place)) is not None:
        hint = did_you_mean(*missing)
        raise ValueError(f"shaper must name an existing file, got {place!r}{hint}")
    try:
        return import_place(place, "pgpo_shaper")
    except Exception as error:
        raise ValueError(
            f"shaper must be importable, got {spec!r}, which raised {type(error).__name__}: {error}"
        ) from error
