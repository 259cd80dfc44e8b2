"""What `deploy/` has for workers elsewhere, as far as this machine can try it."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_container_gets_what_the_package_is_built_of_and_nothing_that_is_anybodys_own():
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE) for name in line.split()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "constraints.txt", project["project"]["readme"], *project["project"]["license-files"]}
    assert set(copied) == {*needed, *wheel["packages"], *wheel["force-include"]}


@pytest.mark.parametrize(("codes", "code"), [([0, 0], 0), ([0, 2], 2), ([3, 0], 3)])
def test_by_hand_ends_with_the_code_of_a_worker_that_was_refused(tmp_path, codes, code):
    program = tmp_path / "pelt-automl"
    program.write_text(f'#!/bin/bash\ncodes=({" ".join(map(str, codes))})\nexit "${{codes[$CUDA_VISIBLE_DEVICES]}}"\n')
    program.chmod(0o755)
    command = [shutil.which("bash"), ROOT / "deploy" / "by-hand.sh", "tls://127.0.0.1:8786", str(len(codes))]
    ended = subprocess.run(command, env=os.environ | {"PELT_AUTOML": str(program)}, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (code, "")


@pytest.mark.parametrize("script", ["by-hand.sh", "slurm.sh"])
def test_an_address_that_is_missing_is_one_sentence(script):
    command = [shutil.which("bash"), ROOT / "deploy" / script]
    ended = subprocess.run(command, env=os.environ | {"SLURM_JOB_ID": "1"}, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert ended.stderr.endswith("1: is missing: tls://HOST:8786, as the selection says it\n")
