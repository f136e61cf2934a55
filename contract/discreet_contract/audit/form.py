"""What must not depend on data at all: that a report comes, its form and lengths, its charge, its bytes when resent.

Nothing here is sampled: one difference between two devices is a failure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from discreet_contract.accounting import NANO
from discreet_contract.audit.findings import Check, Finding, judged
from discreet_contract.mechanisms.memoised import MemoisedResponse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from discreet_contract.audit.walk import Form, Trace
    from discreet_contract.policy.plan import MetricPlan

    Traces = Mapping[str, Sequence[Trace]]  # role → devices


def check_presence(plan: MetricPlan, traces: Traces) -> Finding:
    """Every device: one report for every copy and window, all of one form."""
    due = {role: sum(trace.noised.size for trace in devices) for role, devices in traces.items()}
    came = {role: sum(trace.reports for trace in devices) for role, devices in traces.items()}
    forms: Counter[Form] = Counter()
    for devices in traces.values():
        for trace in devices:
            forms.update(trace.forms)
    refused = sum(trace.refused_events for devices in traces.values() for trace in devices)
    legal = all(form.payload_bytes == plan.mechanism.payload_bytes for form in forms)
    counts = ", ".join(f"{role} {came[role]:,} of {due[role]:,}" for role in traces)
    lengths = " and ".join(f"{form.envelope_bytes} ({form.payload_bytes} payload)" for form in forms) or "no"
    figures = f"reports: {counts}; {lengths} bytes" + (f"; {refused} events refused" if refused else "")
    return judged(
        plan.name,
        Check.PRESENCE,
        figures,
        holds=came == due and len(forms) == 1 and legal and not refused,
        reports=came,
        due=due,
        forms=len(forms),
        refused_events=refused,
    )


def check_ledger(plan: MetricPlan, traces: Traces) -> Finding:
    """Every device's charges are the same, window by window, and cover what its reports cost."""
    charge = plan.mechanism.charge()
    copies, windows = traces["high"][0].noised.shape
    booked = {role: {_booked(trace) for trace in devices} for role, devices in traces.items()}
    every = set().union(*booked.values())
    covers = all(_covers(plan, trace, charge) for devices in traces.values() for trace in devices)
    per_role = ", ".join(
        f"{role} ε {sum(nano * times for _, nano, times in min(kinds)) / NANO:g}" for role, kinds in booked.items()
    )
    return judged(
        plan.name,
        Check.LEDGER,
        f"charged a device for {copies} copies × {windows} windows: {per_role}"
        + ("" if len(every) == 1 else "; devices differ"),
        holds=len(every) == 1 and covers,
        charged={
            role: [sum(nano * times for _, nano, times in kind) for kind in sorted(kinds)]
            for role, kinds in booked.items()
        },
        charge_nano=charge,
    )


def check_resend(plan: MetricPlan, traces: Traces) -> Finding:
    """Opened again, every device has the same bytes to send."""
    devices = [trace for group in traces.values() for trace in group]
    same = sum(trace.resends_same for trace in devices)
    return judged(
        plan.name,
        Check.RESEND,
        f"{same:,} of {len(devices):,} devices opened again send the same bytes",
        holds=same == len(devices),
        same=same,
        devices=len(devices),
    )


def is_memoised(plan: MetricPlan) -> bool:
    """Whether reports of one device share a permanent response."""
    return plan.metric.is_memoised or isinstance(plan.mechanism, MemoisedResponse)


def _booked(trace: Trace) -> tuple[tuple[int, int, int], ...]:
    return tuple(sorted((window, nano, times) for (window, nano), times in trace.charges.items()))


def _covers(plan: MetricPlan, trace: Trace, charge: int) -> bool:
    """Each report is paid for with its own charge; a memoised metric pays for all of them at first use."""
    copies, windows = trace.noised.shape
    paid = sum(nano * times for (_, nano), times in trace.charges.items())
    if is_memoised(plan):
        return bool(paid >= copies * charge)
    return bool(paid >= copies * windows * charge) and all(nano >= charge for _, nano in trace.charges)
