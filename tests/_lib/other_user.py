"""Speak to a socket as another real user: a child that starts as root and lays that down before it connects."""

import json
import os
import subprocess
import sys

import pytest

CHILD = """
import json, os, socket, sys
path, uid, gid, groups, lines = json.loads(sys.argv[1])
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
with socket.socket(socket.AF_UNIX) as peer:
    peer.settimeout(10)
    peer.connect(path)
    for line in lines:
        peer.sendall(line.encode() + b"\\n")
    peer.shutdown(socket.SHUT_WR)
    sys.stdout.buffer.write(peer.makefile("rb").read())
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def speak_as(path, uid, *lines, gid=None, groups=()):
    """Send lines as this user; returns the answers. The socket's folder must let it through."""
    said = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    order = json.dumps([str(path), uid, uid if gid is None else gid, list(groups), said])
    done = subprocess.run([sys.executable, "-c", CHILD, order], capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(answer) for answer in done.stdout.splitlines()]
