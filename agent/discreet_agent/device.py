"""One device's folder opened: lock, secret, database, policy, consent → a pipeline.

Both the daemon and a replayed fleet open their devices here.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from discreet_agent.consent import Consent
from discreet_agent.identity import keep_identity, lost, mark_of, new_secret, read_identity
from discreet_agent.pipeline import Pipeline
from discreet_agent.steps.device import DEFAULT_LIMITS, NO_FACTS, Device, Limits
from discreet_agent.store.aside import is_whole, set_aside, set_aside_at_ms
from discreet_agent.store.head import HEAD, HeadKeeper, read_head, write_head
from discreet_agent.store.store import Store
from discreet_contract.accounting import EMPTY_LEDGER, LedgerHead
from discreet_contract.errors import CorruptStoreError, DiscreetError, StoreError
from discreet_contract.state_folder import hold_state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from discreet_agent.trials.facts import Facts
    from discreet_contract.clock import Clock
    from discreet_contract.policy.release import VerifiedPolicy

DATABASE = "agent.db"
_COUNTED_COPY = "counted_copy"  # when the corrupt database was set aside that is counted already


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A device at work."""

    pipeline: Pipeline
    store: Store
    consent: Consent


@contextmanager
def open_device(
    state_dir: Path, policy: VerifiedPolicy, clock: Clock, limits: Limits = DEFAULT_LIMITS, facts: Facts = NO_FACTS
) -> Iterator[OpenDevice]:
    """Open a device's folder, making it if need be; one process at a time.

    A corrupt database is set aside, also where that shows only while it is open: then the CorruptStoreError goes on to
    the caller, and the next opening starts anew.
    """
    database = state_dir / DATABASE
    with hold_state_folder(state_dir, who="agent"), ExitStack() as parts:
        try:
            with _corruption_named(database):
                device = _open_parts(parts, state_dir, policy, clock, (limits, facts))
        except CorruptStoreError:
            parts.close()
            set_aside(database, clock.now_ms())
            device = _open_parts(parts, state_dir, policy, clock, (limits, facts))
        try:
            with _corruption_named(database):
                _count_copy(device.store, database)
                yield device
        except CorruptStoreError:
            parts.close()
            set_aside(database, clock.now_ms())
            raise


@contextmanager
def _corruption_named(database: Path) -> Iterator[None]:
    """Rows that are not what was written make our code fail in ways of its own: then SQLite is asked what it thinks."""
    try:
        yield
    except DiscreetError:
        raise
    except Exception as exc:
        if not isinstance(exc, msgspec.ValidationError | UnicodeDecodeError) and is_whole(database):
            raise
        raise CorruptStoreError(f"{database} is corrupt", hint="it is set aside; look at the disk") from exc


def _open_parts(
    parts: ExitStack, state_dir: Path, policy: VerifiedPolicy, clock: Clock, said: tuple[Limits, Facts]
) -> OpenDevice:
    store = parts.enter_context(Store(state_dir / DATABASE))
    consent = Consent(state_dir)
    secret = _secret_with_head(state_dir, store)
    head = HeadKeeper(state_dir / HEAD, store, mark_of(secret))
    head.open()
    pipeline = Pipeline(Device(secret, policy, clock, consent, *said), store, head)
    return OpenDevice(pipeline, store, consent)


def _count_copy(store: Store, database: Path) -> None:
    """Once for each database that was set aside, also where the process was killed in the middle of it.

    First the keys of its raw events are destroyed: nobody needs to open them any more, and nobody shall.
    """
    made_ms = set_aside_at_ms(database)
    if made_ms is not None and store.recall(_COUNTED_COPY) != made_ms:
        store.keys.destroy(store.keys.buckets())
        with store.transaction():
            store.count("databases_set_aside")
            store.remember(_COUNTED_COPY, made_ms)


def _secret_with_head(state_dir: Path, store: Store) -> bytes:
    """The device's secret. At first use it is made, after the head of its empty ledger.

    The head comes first, so that a secret which says that it has one never lacks it after a kill.
    A secret of a version that kept no head gets the head of the ledger it has, once.
    """
    identity = read_identity(state_dir)
    if identity is not None and identity.has_head:
        return identity.secret
    kept = _head_beside(state_dir)
    if identity is None:
        if store.ledger.head() != EMPTY_LEDGER or kept not in {None, EMPTY_LEDGER}:
            raise lost(state_dir)
        secret = new_secret()
    else:
        store.ledger.verify()
        secret = identity.secret
    if kept is None or identity is None:
        write_head(state_dir / HEAD, replace(store.ledger.head(), device=mark_of(secret)))
    keep_identity(state_dir, secret)
    return secret


def _head_beside(state_dir: Path) -> LedgerHead | None:
    try:
        return read_head(state_dir / HEAD)
    except StoreError:  # `HeadKeeper.open` will say so; a secret without one is none of ours
        return LedgerHead(-1, b"")
