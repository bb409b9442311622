import re
import textwrap
from pathlib import Path

import pytest
import torch

from pgpo_async.algorithms.shaping import NoneShaper, Signals, make_shaper

GOOD = """
    from __future__ import annotations
    from dataclasses import dataclass
    from typing import ClassVar
    from pgpo_async.algorithms.shaping import BaseShaper, ImageMasking, LossTerms, Shaped

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Doubled(BaseShaper):
        name: ClassVar[str] = "doubled"
        by: float = 2.0

        def shape(self, signals):
            return Shaped(weights_BT=signals.real_BT * self.by)
"""


@pytest.fixture
def write(tmp_path):
    """Write a module of a user's; return its path."""

    def _write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return _write


def test_a_class_of_a_file_is_a_shaper_like_any_other(write):
    path = write(GOOD)
    shaper = make_shaper(f"{path}:Doubled", by=3.0)
    signals = Signals(mask_BT=torch.tensor([[1, 1, 0]]), has_image_B=torch.tensor([True]))
    assert shaper.shape(signals).weights_BT.tolist() == [[3, 3, 0]]
    assert shaper == make_shaper(f"{path}:Doubled", by=3.0)  # one class: the file is loaded once
    with pytest.raises(
        ValueError, match=r"parameter of shaper .*:Doubled' must be one of by, got 'bye'; did you"
    ):
        make_shaper(f"{path}:Doubled", bye=3.0)


def test_a_class_of_a_module_is_found_by_its_dotted_name():
    assert make_shaper("pgpo_async.algorithms.shaping.none:NoneShaper") == NoneShaper()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pgpo:", "shaper must be 'module:Class' or 'path/to/file.py:Class', got 'pgpo:'"),
        (":Mine", "shaper must be 'module:Class' .* got ':Mine'"),
        ("no_such_module_1:Mine", "shaper must be importable, got .* raised ModuleNotFoundError"),
        ("pgpo_async.algorithms.shaping:NonShaper", "must name a class of .*; did you mean 'NoneShaper'"),
        ("pgpo_async.algorithms.shaping:make_shaper", "must name a class of .*, got 'make_shaper'"),
        ("{folder}/mien.py:Doubled", "must name an existing file, got .*; did you mean 'mine.py'"),
        ("{folder}/none/mine.py:Doubled", "must name an existing file, got .*none/mine.py'$"),
        ("{folder}/mine.py:Double", "must name a class of .*, got 'Double'; did you mean 'Doubled'"),
        ("{folder}/mine.py:annotations", "must name a class of .*, got 'annotations'"),
    ],
)
def test_a_class_that_cannot_be_found_is_named_with_the_nearest(write, spec, message):
    folder = write(GOOD).parent
    with pytest.raises(ValueError, match=message):
        make_shaper(spec.format(folder=folder))


def test_a_file_that_fails_is_told_and_tried_again(write):
    path = write("raise KeyError('half')")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"must be importable, got .* raised KeyError: 'half'"):
            make_shaper(f"{path}:Doubled")
    write(GOOD)
    assert make_shaper(f"{path}:Doubled").name == "doubled"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("name = 'x'", "must have 'shape'$"),
        ("def shape(self, signals): ...", "must have 'name'$"),
        ("name = 'x'\n    def shap(self, signals): ...", "must have 'shape', got 'shap'"),
        ("name = 3\n    def shape(self, signals): ...", "name of shaper .* must be text, got 3"),
        ("needs = 'blind'", "needs of shaper .* must be a set, got 'blind'"),
        ("needs = {'blnd'}", "needs of .* must be among blind, .*, got 'blnd'; did you mean 'blind'"),
        ("scope = 'bach'", "scope of .* must be one of batch, .*, got 'bach'; did you mean 'batch'"),
        ("entropy_top_p = 0", r"entropy_top_p of shaper .* must be in \(0, 1\], got 0"),
        ("loss_terms = None", "loss_terms of shaper .* must be LossTerms, got None"),
        ("masking = 0.5", "masking of shaper .* must be ImageMasking, or None, got 0.5"),
        ("needs = {'masked_image'}", "masking of shaper .* must be ImageMasking, got None"),
        ("loss_terms = LossTerms(perception=0.1)", "masking of shaper .* must be ImageMasking, got None"),
        ("shape = 3", "shape of shaper .* must be a method, got 3"),
        ("def __init__(self, k): ...", "parameter 'k' of shaper .* must be given, it has no default"),
    ],
)
def test_a_class_that_is_no_shaper_is_told_what_it_lacks(write, body, message):
    base = "BaseShaper" if "must have" in message or "name of" in message else "Doubled"
    path = write(GOOD)
    path.write_text(path.read_text() + f"\nclass Wrong({base}):\n    {body}\n")
    with pytest.raises(ValueError, match=message):
        make_shaper(f"{path}:Wrong")


def test_a_class_without_the_usual_declarations_is_no_shaper(write):
    path = write("class Bare:\n    name = 'bare'\n    need = set()\n    def shape(self, signals): ...")
    with pytest.raises(ValueError, match=r"class of shaper .* must have 'needs', got 'need'"):
        make_shaper(f"{path}:Bare")


def test_a_class_may_take_parameters_by_any_name(write):
    path = write(GOOD)
    path.write_text(
        path.read_text()
        + "\nclass Open(BaseShaper):\n    name = 'open'\n"
        + "    def __init__(self, **options): self.options = options\n"
        + "    def shape(self, signals): ...\n"
    )
    assert make_shaper(f"{path}:Open", anything=1).options == {"anything": 1}


def test_the_example_in_the_readme_is_a_shaper(write):
    readme = Path(__file__).parents[3] / "README.md"
    (code,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    shaper = make_shaper(f"{write(code)}:Sqrt", power=1.0)
    signals = Signals(
        mask_BT=torch.tensor([[1, 1, 0]]),
        has_image_B=torch.tensor([True]),
        dependency_BT=torch.tensor([[0.0, 2.0, 9.0]]),
    )
    assert shaper.shape(signals).weights_BT.tolist() == [[1.0, 3.0, 0.0]]
