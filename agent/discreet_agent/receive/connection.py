"""One connection: bytes → lines → batches of one sender, and its answers back, in order.

Every byte is looked at once. What a connection may hold is bounded (see `bounds`): a line is only taken while
answers to earlier ones are few and read; what is beyond waits in the kernel, and so in the sender.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.event import Batch, Refused
from discreet_agent.receive.bounds import CHUNK_BYTES, QUESTIONS, SHARE_BYTES, UNANSWERED_LINES, HangUp
from discreet_agent.receive.lines import MAX_LINE_BYTES, Greeting, Query, decode_line, too_large
from discreet_agent.receive.peer import peer_of
from discreet_agent.receive.personal_socket import APP_QUERIES, answer_app
from discreet_agent.senders import ANYONE, Peer, screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Received
    from discreet_agent.receive.lines import Said
    from discreet_agent.receive.socket import SocketReceiver
    from discreet_agent.senders import Senders, Speaker

_scratch = memoryview(bytearray(CHUNK_BYTES))  # shared: it is emptied before the loop reads again
_ONLY_THE_OWNER = {
    "error": "QUERY_NOT_ALLOWED",
    "detail": "only root and the agent's own user may ask",
    "next": "run the command as one of them",
}


class Connection(asyncio.BufferedProtocol):
    """One sender's connection to a `SocketReceiver`."""

    def __init__(self, receiver: SocketReceiver) -> None:
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self.peer = Peer()
        self._known_by: tuple[Senders, Speaker | Refused] | None = None  # who it is, by which policy's senders
        self._wants_answers = True
        self._buffer = bytearray()
        self._searched = 0  # so much of the buffer holds no line's end
        self._is_skipping = False  # inside a line that is already too large
        self._is_taking = False
        self.unanswered = 0
        self._answers: list[bytes] = []  # noted, not sent yet
        self._answer_bytes = 0
        self._is_telling = False  # they are sent in the loop's next turn
        self._is_unread = False  # the sender does not read its answers
        self._has_asked = False  # one question a turn: answering takes longer than reading, and others wait
        self._questions = 0  # that wait for what was said before them to be stored
        self._has_ended = False  # the sender will say no more, but still waits for answers

    # --- the loop's calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn who it is."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_unix_server gives nothing else
        self._transport = transport
        self.peer = peer_of(transport.get_extra_info("socket"))
        self._receiver.welcome(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Hand back what was shared."""
        self._transport = None
        self._receiver.let_go_of_big_line(self)
        self._receiver.connections.discard(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """The same for every connection."""
        return _scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        self._buffer += _scratch[:nbytes]
        self.take_lines()

    def eof_received(self) -> bool:
        """The sender is done: what it left without a line's end is a line."""
        self._has_ended = True
        self.take_lines()
        return not self._is_done  # True keeps the writing side open for the answers still due

    def pause_writing(self) -> None:
        """Take nothing more from a sender that does not read its answers."""
        self._is_unread = True
        self._hold_or_read_on()
        self._receiver.bound_unread()

    def resume_writing(self) -> None:
        """It has read them."""
        self._is_unread = False
        self.take_lines()

    # --- lines -------------------------------------------------------------------------------

    def take_lines(self) -> None:
        """Take the lines that have come, as far as their answers have room; then read on or wait."""
        if self._is_taking:
            return  # a commit in the midst of taking lines: the loop below goes on by itself
        self._is_taking = True
        begin = 0
        while self._has_room:
            end = self._buffer.find(b"\n", max(begin, self._searched))
            if end < 0:
                self._searched = len(self._buffer)
                break
            self._take_line(self._buffer[begin:end])
            begin = end + 1
        del self._buffer[:begin]
        self._searched = max(0, self._searched - begin)
        if begin:
            self._receiver.let_go_of_big_line(self)
        self._take_rest()
        self._is_taking = False
        self._hold_or_read_on()

    def _take_rest(self) -> None:
        """What has no line's end: too much of it is thrown away, at the end of everything it is a line."""
        if self._searched < len(self._buffer) or not self._has_room:
            return
        if self._has_ended:
            self._take_line(self._buffer)
            self._buffer = bytearray()
        elif self._is_skipping or len(self._buffer) > MAX_LINE_BYTES:
            self._is_skipping = True
            self._buffer.clear()
            self._receiver.let_go_of_big_line(self)
        self._searched = len(self._buffer)

    def _take_line(self, line: bytearray) -> None:
        is_skipped, self._is_skipping = self._is_skipping, False
        if is_skipped:
            self._take([too_large()], len(line))
        elif line and not line.isspace():
            self._take(decode_line(line), len(line))

    def _take(self, said: Said, size: int) -> None:
        if isinstance(said, Query):
            self._take_query(said, size)
            return
        if isinstance(said, Greeting):
            said = self._greet(said)
        speaker = self._speaker()
        name = "" if isinstance(speaker, Refused) else speaker.name
        self.unanswered += 1
        tell = self._note if self._wants_answers else self._note_unasked
        self._receiver.group.take(Batch(name, screen(speaker, said)), tell, size)

    def _greet(self, greeting: Greeting) -> Sequence[Received]:
        """From here on; answered like a line of no events, or refused where no sender has this token."""
        if greeting.answers is not None:
            self._wants_answers = greeting.answers
        if greeting.token_sha256 is None:
            return []
        self.peer = Peer(self.peer.uid, self.peer.groups, greeting.token_sha256)
        self._known_by = None
        speaker = self._speaker()
        return [speaker] if isinstance(speaker, Refused) else []

    def _speaker(self) -> Speaker | Refused:
        senders = self._receiver.senders()
        if self._known_by is None or self._known_by[0] is not senders:
            self._known_by = senders, senders.identify(self.peer)
        return self._known_by[1]

    def _take_query(self, query: Query, size: int) -> None:
        """An answer must include what this sender said before it asked. Only the owner can make us commit for that."""
        if not self._wants_answers:
            return
        if self._receiver.senders().is_owner(self.peer):
            if self.unanswered or query.name not in APP_QUERIES:  # apps ask often: no commit before its time for them
                self._receiver.group.flush()
        elif self.unanswered:
            self.unanswered += 1
            self._questions += 1
            self._receiver.group.take(Batch("", ()), partial(self._note_asked, query), size)
            return
        self._add_answer(self._answer_to(query))
        self._send_answers()
        self._has_asked = True
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._has_asked = False
        self.take_lines()

    def _answer_to(self, query: Query) -> dict[str, Any]:
        """Apps ask about what they may read, the owner about everything."""
        apps, is_owner = self._receiver.apps, self._receiver.senders().is_owner(self.peer)
        is_for_apps = query.name in APP_QUERIES and apps is not None
        if not is_owner and (query.as_owner or not is_for_apps):
            return _ONLY_THE_OWNER
        if apps is None or not is_for_apps:
            return self._receiver.answer(query)
        return answer_app(apps, query, ANYONE if query.as_owner else self._speaker())

    # --- answers -----------------------------------------------------------------------------

    def _note(self, outcomes: Sequence[Refused | None]) -> None:
        """One line is on disk or refused: an answer to it stands ready, to be sent with those of its group."""
        self._add_answer(verdicts(outcomes))
        self._settle()

    def _note_asked(self, query: Query, outcomes: Sequence[Refused | None]) -> None:  # noqa: ARG002 - it has none
        """What this sender said before it asked is on disk or refused, and answered."""
        self._questions -= 1
        self._add_answer(self._answer_to(query))
        self._settle()

    def _note_unasked(self, outcomes: Sequence[Refused | None]) -> None:  # noqa: ARG002 - nobody asked
        """One line is on disk or refused, and its sender did not want to know."""
        self._settle()

    def _settle(self) -> None:
        self.unanswered -= 1
        if not self._is_telling:
            self._is_telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _add_answer(self, answer: dict[str, Any]) -> None:
        self._answers.append(msgspec.json.encode(answer))
        self._answer_bytes += len(self._answers[-1])
        if self._answer_bytes > CHUNK_BYTES:
            self._receiver.bound_unread()

    def _tell(self) -> None:
        self._is_telling = False
        self._send_answers()
        self.take_lines()

    def _send_answers(self) -> None:
        answers, self._answers, self._answer_bytes = self._answers, [], 0
        if answers and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"\n".join([*answers, b""]))

    # --- reading, waiting, ending ------------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        has_few_due = self.unanswered < UNANSWERED_LINES and self._answer_bytes < CHUNK_BYTES
        return has_few_due and self._questions < QUESTIONS and not self._is_unread and not self._has_asked

    @property
    def _is_done(self) -> bool:
        return (
            self._has_ended
            and not self._buffer
            and not self._is_skipping
            and not self._has_asked
            and not self._answers
            and self.unanswered == 0
        )

    @property
    def unread_bytes(self) -> int:
        """Of answers that are not sent yet, or wait here because the sender does not read them."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size() + self._answer_bytes

    def _hold_or_read_on(self) -> None:
        if self._is_taking or self._transport is None or self._transport.is_closing():
            return
        if self._has_ended:
            if self._is_done:
                self.close()
        elif self._has_room and (len(self._buffer) <= SHARE_BYTES or self._receiver.may_read_big_line(self)):
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def close(self) -> None:
        """Say what stands ready, and no more."""
        self._send_answers()
        if self._transport is not None:
            self._transport.close()

    def hang_up(self, reason: HangUp) -> None:
        """End at once, counted."""
        self._receiver.hung_up[reason] += 1
        self._answers, self._answer_bytes = [], 0
        if self._transport is not None:
            self._transport.abort()


def verdicts(outcomes: Sequence[Refused | None]) -> dict[str, Any]:
    """What became of some events: how many were taken, and why the others were not."""
    refused = [
        {"index": index, "reason": outcome.reason.value, "detail": outcome.detail}
        for index, outcome in enumerate(outcomes)
        if outcome is not None
    ]
    answer: dict[str, Any] = {"ok": len(outcomes) - len(refused)}
    return answer | {"refused": refused} if refused else answer
