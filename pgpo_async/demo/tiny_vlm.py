"""Where the shipped tiny Qwen2.5-VL lies on disk. Light: neither torch nor transformers is imported.

Owns only the location; `demo.build` makes the files, `transformers` and vLLM read them.
"""

from pathlib import Path

_REQUIRED_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def tiny_vlm_path() -> Path:
    """The folder of the shipped checkpoint, for any `from_pretrained` or vLLM's `model=`.

    Raises FileNotFoundError, naming the missing files and the command that makes them, if it is incomplete.
    """
    folder = default_output()
    missing = [name for name in _REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"the demo model's folder {folder} must hold {', '.join(_REQUIRED_FILES)}, got no "
            f"{', '.join(missing)}: reinstall pgpo-async, or rebuild with `python -m pgpo_async.demo.build`"
        )
    return folder


def default_output() -> Path:
    """Where `demo.build` writes unless told otherwise; the folder may not exist."""
    return Path(__file__).resolve().parent / "tiny_vlm"
