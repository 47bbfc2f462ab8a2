"""Fetches the distributions of hashed locks into one folder, so that Pants builds its environments without an index.

    python build-support/wheelhouse.py FOLDER --uv UV 3.11:3rdparty/python/default.lock 3.9:3rdparty/python/pants.lock

For every pin, pip reads and weighs each file that the project ever published, whenever an environment is built: a
minute of processor time for the locks of this house. Here uv names the files of a lock within a second, the file that
fits the interpreter best is taken, and what came must have a hash that the lock lists.
"""

import argparse
import hashlib
import re
import ssl
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ATTEMPTS = 3
TIMEOUT_SECONDS = 60
PARALLEL = 8


class WheelhouseError(Exception):
    """A distribution could not be had, or is not the one that the lock names."""


@dataclass(frozen=True)
class Distribution:
    """One file of a release."""

    name: str
    url: str


def tags_of(python: str) -> dict[Tag, int]:
    """What CPython `python` ("3.11") can install on this machine, the best first, each with its rank."""
    version = tuple(map(int, python.split(".")))
    tags = [*cpython_tags(version), *compatible_tags(version, f"cp{version[0]}{version[1]}")]
    return {tag: rank for rank, tag in enumerate(tags)}


def distributions(pylock: dict[str, Any], python: str) -> Iterator[Distribution]:
    """The file to fetch for every package of a PEP 751 lock that CPython `python` needs on this machine."""
    ranks = tags_of(python)
    interpreter = {"python_version": python, "python_full_version": f"{python}.0"}
    for package in pylock["packages"]:
        if "marker" in package and not Marker(package["marker"]).evaluate(interpreter):
            continue
        fitting: list[tuple[int, Distribution]] = []
        for wheel in package.get("wheels", ()):
            name = urlsplit(wheel["url"]).path.rpartition("/")[2]
            rank = min((ranks[tag] for tag in parse_wheel_filename(name)[3] if tag in ranks), default=None)
            if rank is not None:
                fitting.append((rank, Distribution(name, wheel["url"])))
        if fitting:
            yield min(fitting, key=lambda pair: pair[0])[1]
        elif "sdist" in package:
            url = package["sdist"]["url"]
            yield Distribution(urlsplit(url).path.rpartition("/")[2], url)
        else:
            raise WheelhouseError(f"{package['name']} {package['version']} has no file for CPython {python}")


def locked_hashes(lock: Path) -> frozenset[str]:
    """Every SHA-256 that a requirements file lists."""
    return frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", lock.read_text(encoding="utf-8")))


def connections() -> urllib3.PoolManager:
    """Keeps connections open, trusts whom this machine trusts, and goes by the proxy that the environment names."""
    proxy = urllib.request.getproxies().get("https")
    trusted = ssl.create_default_context()
    again = urllib3.Retry(ATTEMPTS, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503, 504))
    if proxy:
        return urllib3.ProxyManager(
            proxy, maxsize=PARALLEL, retries=again, timeout=TIMEOUT_SECONDS, ssl_context=trusted
        )
    return urllib3.PoolManager(maxsize=PARALLEL, retries=again, timeout=TIMEOUT_SECONDS, ssl_context=trusted)


def download(distribution: Distribution, http: urllib3.PoolManager) -> bytes:
    """The file as its index has it, asked for again when the connection fails."""
    try:
        response = http.request("GET", distribution.url)
    except urllib3.exceptions.HTTPError as error:
        raise WheelhouseError(f"{distribution.name}: {error}") from error
    if response.status != HTTPStatus.OK:
        raise WheelhouseError(f"{distribution.name}: the index answers {response.status}")
    return response.data


def fetch(distribution: Distribution, folder: Path, hashes: frozenset[str], http: urllib3.PoolManager) -> None:
    """Put one file into `folder`, whole and checked, unless it is there."""
    target = folder / distribution.name
    if target.exists() and hashlib.sha256(target.read_bytes()).hexdigest() in hashes:
        return
    content = download(distribution, http)
    if hashlib.sha256(content).hexdigest() not in hashes:
        raise WheelhouseError(f"{distribution.name} has none of the hashes of its lock")
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".part-", delete=False) as part:
        part.write(content)
    Path(part.name).replace(target)


def fill(folder: Path, uv: str, python: str, lock: Path, http: urllib3.PoolManager) -> None:
    """Fetch what one lock names."""
    command = [uv, "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-config", "--no-header"]
    command += ["--python-version", python, "--format", "pylock.toml", str(lock)]
    pylock = tomllib.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    hashes = locked_hashes(lock)
    with ThreadPoolExecutor(PARALLEL) as pool:
        for _ in pool.map(lambda each: fetch(each, folder, hashes, http), distributions(pylock, python)):
            pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go; made when it is not there")
    parser.add_argument("locks", nargs="+", metavar="PYTHON:LOCK", help="a hashed requirements file and its CPython")
    parser.add_argument("--uv", default="uv", help="the uv command")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    http = connections()
    try:
        for pair in arguments.locks:
            python, _, lock = pair.partition(":")
            fill(arguments.folder, arguments.uv, python, Path(lock), http)
    except (WheelhouseError, subprocess.CalledProcessError) as error:
        print(f"wheelhouse: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
