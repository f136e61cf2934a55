"""The running agent: sockets, timers, the MQTT link, around one pipeline.

Everything that touches the store runs in the event loop's thread. Once a second a tick
looks at consent, closes windows that are over and sends what is due; trouble that may
pass is logged and tried again at the next tick, any other ends the process loudly.
Where the folder cannot be opened, `waiting` serves the socket until it can.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from discreet_agent import status
from discreet_agent.device import DATABASE, OpenDevice, open_device
from discreet_agent.disk import FreeDisk
from discreet_agent.dispatch import Dispatch, Mailbox
from discreet_agent.event import Batch, Refused
from discreet_agent.link import MqttLink
from discreet_agent.obedience import Obedience
from discreet_agent.policies import Policies
from discreet_agent.publish import read_receipts
from discreet_agent.purge_request import mark_obeyed, read_request
from discreet_agent.queries import Queries, refused
from discreet_agent.receive.door import Door
from discreet_agent.receive.socket import SocketReceiver
from discreet_agent.seal import valid_key
from discreet_agent.senders import Senders
from discreet_agent.signed_time import SignedTime
from discreet_agent.store.aside import forget_copy, forget_old_copy
from discreet_agent.storing import Storing
from discreet_agent.waiting import wait_for_store
from discreet_contract.broker import backoff_seconds
from discreet_contract.clock import Clock, SystemClock
from discreet_contract.durations import seconds
from discreet_contract.errors import CorruptStoreError, RetryableError, StoreError
from discreet_contract.policy.obey import Trust
from discreet_contract.state_folder import make_state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_agent.config import Settings
    from discreet_agent.receive.edge import HttpEdge
    from discreet_agent.receive.lines import Query
    from discreet_contract.policy.model import Policy

TICK_SECONDS = 1.0
WAIT_SECONDS = 10.0  # at most between two attempts to open the folder
TIDY_MS = 5  # of every tidying turn, so that nobody who sends events waits for it
TIDY_PAUSE_SECONDS = 0.02
SETTLE_SECONDS = 0.02  # after events came; many groups are settled together

_ACCEPT_LATER = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = structlog.get_logger()


class Daemon:
    """One device's daemon; `run` returns when `stop` is called."""

    def __init__(self, settings: Settings, policies: Policies, device: OpenDevice, clock: Clock) -> None:
        self._settings = settings
        self._policies = policies
        self._device = device
        self._clock = clock
        self._obedience = Obedience(policies, device, clock)
        self._queries = Queries(policies, device)
        self._dispatch = Dispatch(device.pipeline, clock, settings.resend_seconds)
        self._receipts = Mailbox(self._settle)
        self._signed_time = SignedTime()
        self._link = MqttLink(
            *(settings.broker, self._policy.fleet, self._receipts_arrived, self._obedience.arrived),
            *(self._signed_time.hear, self._dispatch.hear),
        )
        self._senders = Senders(self._policy.senders, os.geteuid())
        self._apps = device.pipeline.personal
        self._receiver = SocketReceiver(
            door_of(settings), self._record, self._answer, lambda: self._senders, apps=self._apps
        )
        self._settling: asyncio.TimerHandle | None = None
        self._storing = Storing(device, FreeDisk(settings.state_dir, settings.min_free_disk_bytes))
        self._http: HttpEdge | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._fatal: Exception | None = None
        self._next_sample_ms = 0
        self._next_tidy_ms = 0
        self._tidying: Iterator[int] | None = None

    @property
    def _policy(self) -> Policy:
        return self._obedience.policy

    async def run(self) -> None:
        """Serve until stopped; drains what was received before it returns."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._give_up)
        async with AsyncExitStack() as stack:
            await self._receiver.start()
            stack.callback(self._write_last)  # after the receiver has closed
            stack.push_async_callback(self._receiver.close)
            await self._listen_on_http(stack)
            stack.callback(self._link.close)
            log.info(
                "started",
                socket=str(self._settings.socket),
                http=self._settings.http or "off",
                fleet=self._policy.fleet,
                policy=self._policy.version,
            )
            while not self._stopping.is_set():
                try:
                    self._tick()
                except RetryableError as exc:
                    self._storing.note("trouble, trying again", exc)
                await self._pause()
        if self._fatal is not None:
            raise self._fatal
        log.info("stopped")

    def _write_last(self) -> None:
        try:
            self._device.pipeline.write_refusals()
        except RetryableError as exc:
            log.warning("the last refusals are not counted", problem=str(exc), next_step=exc.hint)

    async def _listen_on_http(self, stack: AsyncExitStack) -> None:
        if not self._settings.http:
            return
        from discreet_agent.receive.edge import HttpEdge

        self._http = HttpEdge(self._settings.http, self._record, lambda: self._policy, self._clock.now_ms, self._apps)
        await self._http.start()
        stack.push_async_callback(self._http.close)

    def stop(self) -> None:
        """Ask `run` to return."""
        self._stopping.set()

    def _give_up(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback failed in a way that nobody expected: end loudly rather than go on half alive."""
        exception = context.get("exception")
        if "socket" in context and isinstance(exception, OSError) and exception.errno in _ACCEPT_LATER:
            log.warning("cannot accept a sender now", problem=exception.strerror)  # asyncio tries again by itself
            return
        self._fatal = context.get("exception") or RuntimeError(context["message"])
        self._stopping.set()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), TICK_SECONDS)
        except TimeoutError:
            return

    def _tick(self) -> None:
        self._obey_purge()
        consent = self._device.consent
        if self._http is not None and consent.refusal(self._policy) is not None:
            self._http.begin_anew()
        if consent.is_paused(self._policy):
            self._link.start()  # or a fleet whose policy once asked too much could never be given a better one
            self._obey_newer()
            self._note_pause()
            return
        if consent.refusal(self._policy) is not None:
            self._link.close()  # P6: off is off, on the network too
            return
        self._link.start()
        self._obey_newer()
        if consent.refusal(self._policy) is not None:  # the newer one asks for more
            return
        self._hear_time()
        self._storing.recover()
        self._forget()  # first, and also where little else works: it makes room
        self._sample()
        self._device.pipeline.watch()
        self._device.pipeline.learn_signed_time(self._policies.obeyed.head.time_ms)
        self._device.pipeline.personalize()
        made = self._device.pipeline.close_windows()
        if made:
            log.info("window closed", reports=made)
        self._dispatch.tick(self._link)

    def _obey_purge(self) -> None:
        """Forget what the owner asked to, also while off; the request goes when it is done."""
        try:
            request = read_request(self._settings.state_dir)
            if request is None:
                return
            gone = self._device.pipeline.purge(request)
            forget_copy(self._settings.state_dir / DATABASE)
            mark_obeyed(self._settings.state_dir)
        except CorruptStoreError:  # set aside as a whole
            raise
        except (RetryableError, StoreError) as exc:
            log.warning("not purged yet, trying again", problem=str(exc), next_step=exc.hint)
            return
        log.info("purged at the owner's word", events=gone)

    def _obey_newer(self) -> None:
        if self._obedience.obey_newer():
            self._senders = Senders(self._policy.senders, os.geteuid())

    def _note_pause(self) -> None:
        try:
            self._device.pipeline.note_pause()
        except RetryableError as exc:
            log.warning("pause not noted yet, trying again", problem=str(exc), next_step=exc.hint)

    def _write_refusals(self) -> None:
        """Now and then only: whoever may publish policies, or reach a port, shall not make the device write."""
        uncounted = self._uncounted()
        if not any(uncounted.values()):
            return
        with self._device.store.transaction():
            for counter, reasons in uncounted.items():
                for reason, times in reasons.items():
                    self._device.store.count(counter, reason.value, by=times)
        for reasons in uncounted.values():
            reasons.clear()

    def _uncounted(self) -> dict[str, Counter[Any]]:
        """Refusals by reason that are not written down yet."""
        of_requests = Counter[Any]() if self._http is None else self._http.uncounted
        return {
            "policies_refused": self._policies.uncounted,
            "requests_refused": of_requests,
            "connections_hung_up": self._receiver.hung_up,
            "resends_refused": self._dispatch.refused,
            "times_refused": self._signed_time.refused,
        }

    def _hear_time(self) -> None:
        time_ms = self._signed_time.take(self._policy)
        if time_ms is not None:
            self._device.pipeline.hear_time(time_ms)

    def _sample(self) -> None:
        host = self._policy.collector.host
        now_ms = self._clock.boot_ms()
        if host is None or now_ms < self._next_sample_ms:
            return
        from discreet_agent.receive.host import sample_host

        self._next_sample_ms = now_ms + seconds(host.every) * 1000
        event = sample_host(host.signal, self._policy.signals[host.signal], self._clock.now_ms())
        self._record([Batch("", [event])])

    def _forget(self) -> None:
        """Begin to tidy up now and then; go on with it in short steps, between which events are received."""
        now_ms = self._clock.boot_ms()
        if self._tidying is None and now_ms >= self._next_tidy_ms:
            self._next_tidy_ms = now_ms + self._device.pipeline.tidy_seconds * 1000
            self._tidying = self._device.pipeline.tidy()
            self._write_refusals()
            self._forget_copy()
        if self._tidying is not None:
            self._tidy()

    def _forget_copy(self) -> None:
        shortest = min(seconds(signal.retention) for signal in self._policy.signals.values())
        if forget_old_copy(self._settings.state_dir / DATABASE, shortest, self._clock.now_ms()):
            log.info("the corrupt database that was set aside is deleted")

    def _tidy(self) -> None:
        tidying, ends_ms = self._tidying, self._clock.boot_ms() + TIDY_MS
        try:
            while tidying is not None and self._clock.boot_ms() < ends_ms:
                if next(tidying, None) is None:
                    self._tidying = tidying = None
        except RetryableError as exc:
            self._tidying = None
            self._storing.note("cannot forget now, trying again", exc)
        if self._tidying is not None and self._loop is not None:
            self._loop.call_later(TIDY_PAUSE_SECONDS, self._tidy)

    def _record(self, batches: Sequence[Batch]) -> Sequence[Refused | None]:
        outcomes = self._storing.record(batches, self._policy)
        if self._settling is None and self._loop is not None:
            self._settling = self._loop.call_later(SETTLE_SECONDS, self._personalize)
        return outcomes

    def _personalize(self) -> None:
        """Soon after events came: segments, guards, and whoever listens to changes."""
        self._settling = None
        try:
            self._device.pipeline.personalize()
        except RetryableError as exc:
            self._storing.note("segments are not kept now, trying again", exc)

    def _answer(self, query: Query) -> dict[str, Any]:
        try:
            return self._queries.answer(query, self._policy, self._health)
        except CorruptStoreError as exc:
            self._fatal = exc  # ended, set aside, begun anew; see `run_daemon`
            self._stopping.set()
            return refused(exc)

    def _health(self) -> status.Health:
        pipeline = self._device.pipeline
        key_valid = valid_key(self._policy, self._clock.now_ms()) is not None
        return status.Health(
            "connected" if self._link.connected else f"not connected: {self._link.trouble or 'trying'}",
            status.releases(pipeline.halted, key_valid=key_valid),
            self._storing.state,
            self._settings.http,
            self._uncounted(),
            pipeline.anomalies,
            pipeline.is_absence_held,
        )

    def _receipts_arrived(self, message: bytes) -> None:
        """Called in the MQTT thread."""
        if self._loop is not None:
            self._receipts.put(message, self._loop)

    def _settle(self, message: bytes) -> None:
        receipts = read_receipts(message)
        try:
            if not receipts or self._device.consent.refusal(self._policy) is not None:
                return
            settled = self._device.pipeline.settle(receipts)
        except RetryableError as exc:  # the resend will ask for the receipt again
            self._storing.note("receipts not stored", exc)
            return
        if settled:
            log.info("receipts", settled=settled, waiting=self._device.store.outbox.waiting())


def run_daemon(settings: Settings, clock: Clock | None = None) -> None:
    """Open the device and serve until SIGTERM or SIGINT; wait where that cannot be done now, and say so.

    After a corrupt database, which is set aside, the device is opened anew. Each time the pause grows.
    """
    clock = clock or SystemClock()
    for attempt in count():
        try:
            _open_and_serve(settings, clock)
        except (RetryableError, CorruptStoreError) as exc:
            if asyncio.run(wait_for_store(door_of(settings), exc, backoff_seconds(attempt, cap=WAIT_SECONDS))):
                continue
        return


def _open_and_serve(settings: Settings, clock: Clock) -> None:
    make_state_folder(settings.state_dir)
    policies = Policies(settings.policy, Trust(settings.roots, settings.witness), settings.state_dir, clock)
    with open_device(settings.state_dir, policies.start().policy, clock, settings.limits, settings.facts) as device:
        asyncio.run(_serve(settings, policies, device, clock))


async def _serve(settings: Settings, policies: Policies, device: OpenDevice, clock: Clock) -> None:
    daemon = Daemon(settings, policies, device, clock)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop)
    await daemon.run()


def door_of(settings: Settings) -> Door:
    """The socket as a file."""
    return Door(settings.socket, settings.socket_mode, settings.socket_group)
