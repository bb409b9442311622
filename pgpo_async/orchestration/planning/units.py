"""Seconds and bytes in words. Pure."""


def in_seconds(seconds: float) -> str:
    """Three digits after the point for a short time, one for a long one."""
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"


def in_bytes(num_bytes: float) -> str:
    """Three digits or more, in the largest binary unit that leaves some before the point."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(num_bytes) < 1024:
            return (
                f"{num_bytes:.0f} {unit}"
                if unit == "bytes" or abs(num_bytes) >= 100
                else f"{num_bytes:.3g} {unit}"
            )
        num_bytes /= 1024
    return f"{num_bytes:.3g} TiB"
