"""Kubernetes' syntax of names and labels: each function says what is wrong, or None."""

import re

_DNS_1123_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_1123_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PATH_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[^/%]+")

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253


def dns_label_problem(
    name: str, *, starts_with_letter: bool = False, longest: int = LABEL_LENGTH
) -> str | None:
    """Of a DNS-1123 label; of DNS-1035, which a service's name is made of, where it starts with a letter."""
    if len(name) > longest:
        return f"must be at most {longest} characters long, got {len(name)}"
    pattern, norm, starts = (
        (_DNS_1035_LABEL, "DNS-1035", "a letter first")
        if starts_with_letter
        else (_DNS_1123_LABEL, "DNS-1123", "a letter or digit first")
    )
    if not pattern.fullmatch(name):
        return f"must be a {norm} label (small letters, digits and `-`; {starts}, no `-` last), got {name!r}"
    return None


def object_name_problem(name: str, *, kind: str) -> str | None:
    """Of an object's name: a DNS-1123 subdomain; a label for namespaces and services; looser for RBAC."""
    if kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"):
        return None if _PATH_SEGMENT.fullmatch(name) else f"must be one part of a path, got {name!r}"
    if kind == "Namespace":
        return dns_label_problem(name)
    if kind == "Service":
        return dns_label_problem(name, starts_with_letter=True)
    if len(name) > SUBDOMAIN_LENGTH:
        return f"must be at most {SUBDOMAIN_LENGTH} characters long, got {len(name)}"
    if not _DNS_1123_SUBDOMAIN.fullmatch(name):
        return f"must be a DNS-1123 name (small letters, digits, `-` and `.`), got {name!r}"
    return None


def label_key_problem(key: str) -> str | None:
    """Of a label's or annotation's key: `name` or `prefix/name`."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > SUBDOMAIN_LENGTH or not _DNS_1123_SUBDOMAIN.fullmatch(prefix)):
        return f"its key must have a DNS-1123 name before the `/`, got {key!r}"
    if len(name) > LABEL_LENGTH or not _QUALIFIED.fullmatch(name):
        return (
            f"its key must be 1 to {LABEL_LENGTH} letters, digits, `-`, `_` and `.`, a letter or digit first "
            f"and last, got {key!r}"
        )
    return None


def label_value_problem(value: str) -> str | None:
    """Of a label's value; annotations may hold anything."""
    if value and (len(value) > LABEL_LENGTH or not _QUALIFIED.fullmatch(value)):
        return (
            f"must be at most {LABEL_LENGTH} letters, digits, `-`, `_` and `.`, a letter or digit first and "
            f"last, got {value!r}"
        )
    return None
