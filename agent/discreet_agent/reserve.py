"""The budget's last word on a window, spoken when it begins: reserved, refused, or not this metric's turn.

Decided in order of window start and then of the policy, against charges and reservations
together. So neither data, nor chance, nor which window ends first decides which metric gets the
last of the budget. A new policy decides anew about the windows that are open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.schedule import begun_windows
from discreet_agent.turns import on_turn
from discreet_contract.accounting import Debit, check_caps, to_nano

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from discreet_agent.store.store import Store
    from discreet_contract.accounting import Caps
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.policy.release import VerifiedPolicy

_UNDER = "reserved_under"


class Reserve:
    """One device's reservations under one policy."""

    def __init__(self, store: Store, policy: VerifiedPolicy, secret: bytes, caps: Caps) -> None:
        self._store = store
        self._policy = policy
        self._secret = secret
        self._decided: set[tuple[str, int]] = set()  # what need not be looked up again
        self._is_current = False
        self.caps = caps

    def decide(self, next_windows: Mapping[str, int], now_ms: int) -> None:
        """Reserve for every window that has begun, or refuse it; each is decided once under a policy."""
        begun = begun_windows(self._policy, next_windows, now_ms)
        undecided = [(start, plan) for start, plan in begun if (plan.name, start) not in self._decided]
        if self._is_current and not undecided:
            return
        first_open = {plan.name: start for start, plan in reversed(begun)}
        with self._store.transaction():
            if not self._is_current:
                self._start_over(next_windows)
            for name, following in next_windows.items():  # windows past the horizon are charged no more
                self._store.reservations.free(name, first_open.get(name, following))
            self._decide_each([(start, plan) for start, plan in undecided if self._is_open(plan, start)])
        self._is_current = True
        self._decided = {(plan.name, start) for start, plan in begun}

    def look_again(self) -> None:
        """Metrics began anew: what was decided about their windows stands in the store only."""
        self._decided.clear()

    def is_on_turn(self, plan: MetricPlan, start: int) -> bool:
        """Whether this metric reports in this window at all."""
        return on_turn(self._secret, self._policy.policy.fleet, self._policy.plans, plan, start)

    def cost(self, plan: MetricPlan) -> int:
        """Nano-ε of one window. A memoised metric pays for its lifetime at first use, whatever its values will be."""
        return 0 if self._is_paid(plan) else plan.mechanism.charge()

    def _aside(self, plan: MetricPlan) -> int:
        """What to set aside: the declared ε, never below the charge, and known without OpenDP in an idle daemon.

        A memoised metric that is paid for, or whose lifetime is set aside for an earlier window, needs nothing more.
        """
        if plan.metric.is_memoised and (self._is_paid(plan) or self._store.reservations.sum_of(plan.name) > 0):
            return 0
        return to_nano(plan.metric.epsilon)

    def _is_paid(self, plan: MetricPlan) -> bool:
        return plan.metric.is_memoised and self._store.memos.first_window(plan.name, plan.version) is not None

    def _start_over(self, next_windows: Mapping[str, int]) -> None:
        """Under another policy than the last one, what was decided about open windows is void."""
        if self._store.recall(_UNDER) == self._policy.digest:
            return
        self._store.reservations.clear()
        for name, following in next_windows.items():
            self._store.ledger.take_back_refusals(name, following)
        self._store.remember(_UNDER, self._policy.digest)

    def _is_open(self, plan: MetricPlan, start: int) -> bool:
        """Whether nothing was decided about this window yet, also not before a restart."""
        ledger, name = self._store.ledger, plan.name
        is_settled = ledger.holds(name, start) or ledger.refusal(name, start) is not None
        return not is_settled and not self._store.reservations.holds(name, start) and self.is_on_turn(plan, start)

    def _decide_each(self, windows: Sequence[tuple[int, MetricPlan]]) -> None:
        if not windows:
            return
        spent = self._store.ledger.debits() + self._store.reservations.debits()
        for start, plan in windows:
            debit = Debit(start, self._aside(plan))
            refusal = check_caps(spent, self.caps, debit)
            if refusal is None:
                self._store.reservations.add(plan.name, debit)
                spent.append(debit)
            else:
                self._store.ledger.refuse(plan.name, start, refusal)
