"""The programs in an exported model's card, to be run in its folder beside an `image.png`."""

import re
from pathlib import Path

from PIL import Image

_PROGRAM = re.compile(r"```python\n(.*?)```", re.DOTALL)


def card_programs(folder: Path) -> dict[str, str]:
    """Return the programs by the library that they load the model with; writes what they look at."""
    Image.new("RGB", (84, 84), "red").save(folder / "image.png")
    transformers, vllm = _PROGRAM.findall((folder / "README.md").read_text(encoding="utf-8"))
    return {"transformers": transformers, "vllm": vllm}
