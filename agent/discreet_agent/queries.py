"""What the owner asks of the running agent, by name, and the answers; what may fail is answered, not raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_agent import status
from discreet_agent.steps.pins import described
from discreet_contract.errors import CorruptStoreError, DiscreetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_agent.device import OpenDevice
    from discreet_agent.policies import Policies
    from discreet_agent.receive.lines import Query
    from discreet_agent.steps.admit import Admission
    from discreet_agent.steps.pins import Pinning
    from discreet_contract.policy.model import Policy


MOST_MOVES = 200
MOST_REPORTS = 1_000  # the commands read further, page by page


class Queries:
    """Answers one device's owner."""

    def __init__(self, policies: Policies, device: OpenDevice) -> None:
        self._policies = policies
        self._device = device

    def answer(self, query: Query, policy: Policy, health: Callable[[], status.Health]) -> dict[str, Any]:
        """The answer, or why there is none. Raises CorruptStoreError."""
        store = self._device.store
        known: dict[str, Callable[[], dict[str, Any]]] = {
            "status": lambda: self._status(health()),
            "sent": lambda: {"sent": status.describe_sent(store.outbox, MOST_REPORTS)},
            "preview": lambda: {"preview": status.describe_preview(store.outbox, MOST_REPORTS)},
            "ledger": lambda: status.describe_ledger(store.ledger),
            "policies": lambda: {"policies": status.describe_trail(store.trail)},
            "quarantine": lambda: {"quarantine": status.describe_quarantine(self._admission.quarantined())},
            "clear_quarantine": lambda: self._clear_quarantine(policy),
            "experiments": lambda: {"experiments": self._device.pipeline.personal.experiments()},
            "moves": lambda: {"moves": [move._asdict() for move in store.personal.moves(MOST_MOVES)]},
            "pins": lambda: {"pins": [described(pin) for pin in self._pinning.pins().values()]},
            "pin": lambda: self._pin(query, policy),
            "unpin": lambda: self._unpin(query, policy),
        }
        if query.name not in known:
            return {"error": "UNKNOWN_QUERY", "detail": f"known: {', '.join(known)}"}
        try:
            return known[query.name]()
        except CorruptStoreError:
            raise
        except DiscreetError as exc:
            return refused(exc)

    def _status(self, health: status.Health) -> dict[str, Any]:
        said = status.describe(self._device.store, self._policies, self._device.consent, health)
        evaluations = dict(self._device.pipeline.personal.evaluated)
        return said | {"contracts": self._admission.contracts(), "evaluations": evaluations}

    @property
    def _admission(self) -> Admission:
        return self._device.pipeline.admission

    def _clear_quarantine(self, policy: Policy) -> dict[str, Any]:
        refusal = self._device.consent.refusal(policy)
        if refusal is not None:  # P6: deleting writes too
            return {"error": "CONSENT_OFF", "detail": refusal, "next": "`discreet agent purge` forgets it all the same"}
        return {"cleared": self._admission.clear_quarantine()}

    # --- flags -----------------------------------------------------------------------------

    @property
    def _pinning(self) -> Pinning:
        return self._device.pipeline.personal.pinning

    def _pin(self, query: Query, policy: Policy) -> dict[str, Any]:
        refusal = self._device.consent.refusal(policy)
        if refusal is not None:
            return {"error": "CONSENT_OFF", "detail": refusal, "next": "nothing is written while the agent is off"}
        if query.flag is None or query.variant is None:
            return {"error": "MALFORMED", "detail": "say which flag, and at which variant"}
        self._pinning.pin(query.flag, query.variant, query.reason)
        return {"pinned": query.flag, "variant": query.variant}

    def _unpin(self, query: Query, policy: Policy) -> dict[str, Any]:
        refusal = self._device.consent.refusal(policy)
        if refusal is not None:
            return {"error": "CONSENT_OFF", "detail": refusal, "next": "nothing is written while the agent is off"}
        if query.flag is None:
            return {"error": "MALFORMED", "detail": "say which flag"}
        self._pinning.unpin(query.flag)
        return {"unpinned": query.flag}


def refused(exc: DiscreetError) -> dict[str, Any]:
    """What failed, as an answer."""
    return {"error": type(exc).__name__, "detail": str(exc), "next": exc.hint}
