"""What the container image holds, made of this checkout and the environment that runs the tests.

Environment and working folder are read from `k8s/Dockerfile`. The virtual environment is bound, not copied;
console scripts name the interpreter by its path in the image; the package is a copy that any user can read,
found by a `.pth` file in the place of the editable install's.
"""

import compileall
import os
import shutil
import sys
from pathlib import Path

from support.dockerfile import DOCKERFILE, REPOSITORY, health_command, holding, last, stages, variables

HOME_IN_IMAGE = "/opt/pgpo-async"
INSTRUCTIONS = holding(stages(DOCKERFILE.read_text()), "cpu")
ENVIRONMENT = variables(INSTRUCTIONS)
WORKING_FOLDER = last(INSTRUCTIONS, "WORKDIR")
HEALTH_CHECK = health_command(INSTRUCTIONS)
USERS = "root:x:0:0:root:/root:/bin/bash\npgpo:x:1000:1000::/home/pgpo:/bin/bash\n"
GROUPS = "root:x:0:\npgpo:x:1000:\n"
COMPILERS = ("c++", "cc", "g++", "gcc")
INSTALLED = " ".join(rest for keyword, rest in INSTRUCTIONS if keyword == "RUN").split()
NOT_IN_IMAGE = ["clang", "curl", "git", "numactl", "ps", "sudo", "wget"]
NOT_IN_IMAGE += () if "g++" in INSTALLED else COMPILERS
"""Programs of the host's that no pod sees: what works in one must not need them."""


class Image:
    """Made once below `folder`, shared by any number of pods; nothing in it is ever written again."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.venv = Path(sys.prefix)
        self._packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
        readable = [self.venv / "lib", self._packages, Path(sys.base_prefix)]
        closed = [str(path) for path in readable if path.stat().st_mode & 0o5 != 0o5]
        if closed:
            raise RuntimeError(f"other users must be able to read {', '.join(closed)}")
        self._make_home()
        self._make_etc()

    def _make_home(self):
        home = self.folder / "home"
        for name in ("bin", "lib", "code"):
            (home / name).mkdir(parents=True)
        (home / "lib64").symlink_to("lib")
        shutil.copy(self.venv / "pyvenv.cfg", home)
        for source in (self.venv / "bin").iterdir():
            if source.is_symlink():
                (home / "bin" / source.name).symlink_to(os.readlink(source))
            elif source.read_bytes()[:2] == b"#!":
                script = source.read_text().replace(str(self.venv), HOME_IN_IMAGE)
                (home / "bin" / source.name).write_text(script)
        code = home / "code" / "pgpo_async"
        shutil.copytree(REPOSITORY / "pgpo_async", code, ignore=shutil.ignore_patterns("__pycache__"))
        # Files carry the path that they will have, as in tracebacks.
        compileall.compile_dir(code, quiet=2, stripdir=str(home), prependdir=HOME_IN_IMAGE)
        (self.folder / "code.pth").write_text(f"{HOME_IN_IMAGE}/code\n")
        for place, folders, names in os.walk(self.folder):
            for path in (os.path.join(place, name) for name in (*folders, *names)):
                if not os.path.islink(path):
                    inside_bin = os.path.dirname(path) == str(home / "bin")
                    os.chmod(path, 0o755 if os.path.isdir(path) or inside_bin else 0o644)

    def _make_etc(self):
        etc = self.etc = self.folder / "etc"
        etc.mkdir()
        (etc / "passwd").write_text(USERS)
        (etc / "group").write_text(GROUPS)
        (etc / "nsswitch.conf").write_text("hosts: files\n")
        for name in ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl", "alternatives", "mime.types"):
            source = Path("/etc") / name
            if source.is_dir():
                private = shutil.ignore_patterns("private")
                shutil.copytree(source, etc / name, symlinks=True, ignore=private)
            elif source.exists():
                shutil.copy(source, etc / name)

    def binds(self):
        """Return (host path, path in the pod) of what is bound, outer paths first; `etc` is copied."""
        found = [(Path("/usr"), "/usr"), (self.folder / "home", HOME_IN_IMAGE)]
        found += [(path, str(path)) for path in _system_folders() if not path.is_symlink()]
        base = Path(sys.base_prefix)
        if not base.is_relative_to("/usr"):
            found.append((base, str(base)))
        found.append((self.venv / "lib", f"{HOME_IN_IMAGE}/lib"))
        inside = Path(HOME_IN_IMAGE) / self._packages.relative_to(self.venv)
        found += [
            (self.folder / "code.pth", str(inside / path.name))
            for path in self._packages.glob("__editable__.pgpo_async-*.pth")
        ]
        hidden = {
            Path(path).resolve() for name in NOT_IN_IMAGE if (path := shutil.which(name, path="/usr/bin"))
        }
        return [*found, *((Path("/dev/null"), str(path)) for path in sorted(hidden))]

    def links(self):
        """Return (target, path in the pod) of the root folder's symbolic links."""
        return [(os.readlink(path), str(path)) for path in _system_folders() if path.is_symlink()]


def _system_folders():
    return [path for name in ("bin", "sbin", "lib", "lib64") if (path := Path("/") / name).exists()]
