"""Packages of another language's registry for a test, at exact versions, in a cache outside of the tree."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from needs import need

PACKAGES = ("blakejs@1.2.1", "libsodium-wrappers@0.8.4", "mqtt@5.15.2", "tweetnacl-sealedbox-js@1.2.0")
INSTALL = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
INSTALL += ("--fetch-retries=1",)
PATIENCE_SECONDS = 180


def installed_packages() -> Path:
    """The folder with `node_modules`; installed once, then found there without a network."""
    need(shutil.which("node") and shutil.which("npm"), "Node or npm is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "discreet-tests"
    folder = cache / hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:16]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _install(folder)
    return folder


def _install(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        prepared = Path(temporary) / "packages"
        prepared.mkdir()
        command = [*INSTALL, "--prefix", str(prepared), *PACKAGES]
        try:
            done = subprocess.run(
                command, cwd=prepared, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            need(False, f"npm could not install packages in {PATIENCE_SECONDS} s; is the registry reachable?")
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        need(done.returncode == 0, f"npm could not install packages: {last[0]}")
        if not folder.exists():  # another test process may have been quicker
            prepared.rename(folder)
