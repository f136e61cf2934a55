"""The Unix socket as a file: where it lies, who may open it. Everything is in place before anybody can connect."""

from __future__ import annotations

import grp
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Door:
    """Path, mode and group ("": this process's own) of the socket."""

    path: Path
    mode: int = 0o660
    group: str = ""

    def open(self) -> socket.socket:
        """Bind; replaces a socket that nobody serves. Raises ConfigError, also where another process listens."""
        self._make_way()
        gid = self._gid()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(str(self.path))
            if gid is not None:
                self._give_to(gid)
            self.path.chmod(self.mode)
        except OSError as exc:
            bound.close()
            raise ConfigError(
                f"cannot listen on {self.path}: {exc}", hint="choose a short path that you may write"
            ) from exc
        except ConfigError:
            bound.close()
            self.path.unlink(missing_ok=True)
            raise
        return bound

    def _make_way(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            hint = "set `socket` to a path in a folder that you may write"
            raise ConfigError(f"cannot make {self.path.parent}: {exc.strerror}", hint=hint) from exc
        if not self.path.exists():
            return
        if not self.path.is_socket():
            raise ConfigError(f"{self.path} is a file, not a socket", hint="set `socket` to another path")
        if _someone_listens(self.path):
            raise ConfigError(f"another agent listens on {self.path}", hint="stop it, or configure another socket")
        self.path.unlink()

    def _gid(self) -> int | None:
        if not self.group:
            return None
        try:
            return grp.getgrnam(self.group).gr_gid
        except KeyError as exc:
            hint = "make it with `groupadd`, or set `socket_group` to one that is there"
            raise ConfigError(f"there is no group {self.group!r} on this machine", hint=hint) from exc

    def _give_to(self, gid: int) -> None:
        if self.path.stat().st_gid == gid:
            return  # where it is ours already nothing need be allowed
        try:
            os.chown(self.path, -1, gid)
        except PermissionError as exc:
            hint = "add the agent's user to it, or leave `socket_group` empty"
            raise ConfigError(f"may not give {self.path} to the group {self.group!r}", hint=hint) from exc


def _someone_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
