"""Who is at the other end of a Unix socket, as the kernel noted it when the connection was made."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from discreet_agent.senders import Peer

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid: struct ucred
_SO_PEERGROUPS = 59  # Linux 4.13; Python has no name for it
_FEW_GROUPS, _MOST_GROUPS = 64, 65_536


def peer_of(connection: socket.socket | TransportSocket) -> Peer:
    """User and groups of a connected peer. In a user namespace that does not know it, the user is `nobody`."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(credentials)
    return Peer(uid, frozenset({gid, *_supplementary_groups(connection)}))


def _supplementary_groups(connection: socket.socket | TransportSocket) -> tuple[int, ...]:
    for room in (_FEW_GROUPS, _MOST_GROUPS):
        try:
            groups = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * room)
        except OSError as exc:
            if exc.errno == errno.ERANGE:
                continue
            return ()  # an old kernel: only the group it runs as is known
        return struct.unpack(f"{len(groups) // 4}I", groups)
    return ()
