"""Small files are whole or absent, and private unless said otherwise."""

import os
import subprocess
import sys

import pytest

from discreet_contract.errors import ConfigError, ExitCode
from discreet_contract.files import read_or_explain, write_durably

OUT_OF_SPACE = """
import resource, sys
from pathlib import Path
from discreet_contract.files import write_durably
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
write_durably(Path(sys.argv[1]), b"n" * 1000)
"""


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
@pytest.mark.usefixtures("umask")
def test_a_file_has_the_mode_that_was_asked_for(tmp_path, mode):
    """Whatever the umask, and whatever mode an older file or a left-over had."""
    path = tmp_path / "file"
    for older in (path, tmp_path / "file.new"):
        older.write_bytes(b"old")
        older.chmod(0o666)

    write_durably(path, b"content", mode=mode)

    assert path.stat().st_mode & 0o777 == mode
    assert path.read_bytes() == b"content"


def test_a_file_is_private_unless_said_otherwise(tmp_path):
    """Keys are written with this."""
    write_durably(tmp_path / "file", b"")

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_beside_the_file(tmp_path):
    """No temporary file survives."""
    write_durably(tmp_path / "file", b"x" * 100_000)

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fills_up_leaves_the_old_content(tmp_path):
    """A short write is a failure, not a shorter file; the left-over does not stay."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    run = subprocess.run([sys.executable, "-c", OUT_OF_SPACE, str(path)], capture_output=True, text=True, check=False)

    assert run.returncode != 0
    assert "File too large" in run.stderr
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_reading_what_is_not_there_says_what_it_was_for(tmp_path):
    """File, purpose, reason and next step."""
    with pytest.raises(ConfigError, match=r"nowhere:1: cannot read a thing: No such file") as caught:
        read_or_explain(tmp_path / "nowhere", what="a thing", hint="make one")

    assert caught.value.hint == "make one"
    assert caught.value.exit_code == ExitCode.CONFIG


def test_reading_a_folder_says_so(tmp_path):
    """A folder is not a file."""
    with pytest.raises(ConfigError, match="Is a directory"):
        read_or_explain(tmp_path, what="a thing", hint="")


def test_what_root_writes_belongs_to_the_folders_owner(tmp_path):
    """`discreet agent off` by root must be readable by the service, or off would break it."""
    if os.geteuid() != 0:
        pytest.skip("only root can write for others")
    os.chown(tmp_path, 65534, 65534)
    write_durably(tmp_path / "consent.json", b"{}")

    status = (tmp_path / "consent.json").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65534, 0o600)
