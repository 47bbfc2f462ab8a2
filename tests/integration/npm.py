"""npm packages for tests that run the other side's own JavaScript in Node.

A package is installed once per lock file into a folder of its own in the user's cache, by npm, from whatever registry
npm is set up with. The lock file holds the hash of everything that is installed.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


def installed(sources: Path, files: Sequence[str]) -> Path:
    """The folder with the package, installed when it is not there yet.

    Args:
        sources: folder of the package: `package.json`, `package-lock.json` and the scripts.
        files: what of it is needed.
    """
    for command in ("node", "npm"):
        assert shutil.which(command), f"this test needs {command}: install Node 20 or later"
    identity = hashlib.sha256(b"".join((sources / name).read_bytes() for name in files)).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = caches / "streamproof" / f"{sources.name.replace('_', '-')}-{identity}"
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
            folder = Path(scratch) / "package"
            folder.mkdir()
            for name in files:
                shutil.copy(sources / name, folder)
            npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(npm, cwd=folder, check=True, capture_output=True, timeout=55)
            if not home.exists():
                folder.rename(home)
    return home
