"""Libraries that every process would compile anew are named, and only those."""

import compileall
import importlib

import pytest

from pgpo_async.orchestration.doctor.bytecode import check_bytecode

FORBIDDEN = {"PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A package `heavy` on the path, of which nothing is compiled."""
    folder = tmp_path / "heavy"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return folder


def found(environ):
    (line,) = check_bytecode(environ, ["heavy", "no_such_library"])
    return line


def test_nothing_is_wrong_where_the_first_import_will_keep_it(library):
    assert found({}).level == "ok"
    assert "first import" in found({}).found


def test_where_python_may_not_keep_it_the_library_and_the_reason_are_named(library, monkeypatch):
    line = found(FORBIDDEN)
    assert line.level == "warning"
    assert "compiles heavy anew" in line.found
    assert "PYTHONDONTWRITEBYTECODE" in line.found
    assert "--compile-bytecode" in line.advice
    monkeypatch.setattr("os.access", lambda *_: False)
    assert f"{library} cannot be written" in found({}).found


def test_compiled_once_it_is_well_whatever_python_may_write(library):
    compileall.compile_dir(library, quiet=1)
    assert found(FORBIDDEN).level == "ok"
