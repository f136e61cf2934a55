"""Our sums beside what others prove for the same releases: OpenDP's composition, dp-accounting's accountant.

Ours are plain sums of nano-ε; they may never be below what is proven for pure ε, nor above it
by more than the rounding of each charge.
"""

import pytest
from dp_accounting import dp_event
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
from dp_accounting.privacy_accountant import NeighboringRelation
from opendp.combinators import make_composition
from opendp.domains import atom_domain
from opendp.measurements import make_laplace, make_randomized_response, make_randomized_response_bool
from opendp.metrics import absolute_distance

from discreet_contract.accounting import NANO, Caps, Debit, check_caps, to_nano
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.mechanism import enable_opendp
from discreet_contract.mechanisms.randomized_response import RandomizedResponse
from discreet_contract.policy.compile import load_policy
from discreet_contract.policy.loss import loss_of
from policies import EXAMPLES

EPSILONS = [0.3, 0.5, 1.0, 2.0]
enable_opendp()
DELTA = 1e-12  # as near to pure ε as dp-accounting goes: it cuts tails, so at 0 it knows nothing
GRID = 1e-4  # its losses are rounded up to a multiple of this
RANGES = [(0, 1), (0, 40), (-120, 1440)]


def composed(measurements):
    """OpenDP's own proof for all of them on one device's data."""
    return make_composition(measurements)


def laplace(mechanism):
    """What dlap-1 says it draws from, built apart from it."""
    domain = atom_domain(bounds=(mechanism.low, mechanism.high), T="i64")
    return make_laplace(domain, absolute_distance(T="i64"), scale=mechanism.scale)


@pytest.mark.parametrize("releases", [1, 2, 13, 40])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_charges_of_a_category_metric_are_opendps_composition(epsilon, releases):
    """To 1e-9 a release, and never below."""
    mechanism = KAryResponse(epsilon, tuple("abcd"))
    proven = composed([make_randomized_response(list(range(4)), prob=mechanism.truth)] * releases).map(1)

    assert_covered(releases * mechanism.charge(), proven, releases)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_charges_of_a_binary_metric_are_opendps_composition(epsilon):
    mechanism = RandomizedResponse(epsilon)
    proven = composed([make_randomized_response_bool(prob=mechanism.truth)] * 13).map(1)

    assert_covered(13 * mechanism.charge(), proven, 13)


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_charges_of_a_count_metric_are_opendps_composition(epsilon, bounds):
    mechanism = DiscreteLaplace(epsilon, *bounds)
    proven = composed([laplace(mechanism)] * 13).map(bounds[1] - bounds[0])

    assert_covered(13 * mechanism.charge(), proven, 13)


def assert_covered(nano, proven, releases):
    # OpenDP rounds each addition up by a last bit, which a sum of nano-ε need not follow.
    assert nano / NANO >= proven * (1 - 1e-12)
    assert nano / NANO <= proven + releases * 1e-9


@pytest.mark.parametrize("releases", [1, 5, 13])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_charges_are_never_below_what_dp_accounting_proves(epsilon, releases):
    """Nearly pure ε of repeated randomised response; the accountant ignores a count, so it is told one by one."""
    mechanism = RandomizedResponse(epsilon)
    charged = releases * mechanism.charge() / NANO
    noise = 2 * (1 - mechanism.truth)  # dp-accounting answers at random with this probability
    accountant = PLDAccountant(NeighboringRelation.REPLACE_ONE, GRID)
    for _ in range(releases):
        accountant.compose(dp_event.RandomizedResponseDpEvent(noise, 2))

    proven = accountant.get_epsilon(DELTA)
    assert 0.9 * charged <= proven <= charged + releases * GRID


def test_composed_distributions_are_never_above_the_ledgers_sum():
    """Different metrics together: well below it at a δ of one in a million, close to it at the smallest."""
    mechanisms = [RandomizedResponse(1.0), RandomizedResponse(0.4), RandomizedResponse(0.3)]
    total = privacy_loss_distribution.identity()
    for mechanism in mechanisms:
        one = privacy_loss_distribution.from_randomized_response(2 * (1 - mechanism.truth), 2)
        total = total.compose(one.self_compose(13))
    charged = 13 * sum(mechanism.charge() for mechanism in mechanisms) / NANO

    assert total.get_epsilon_for_delta(1e-6) < charged
    assert 0.75 * charged <= total.get_epsilon_for_delta(DELTA) <= charged + 39 * GRID


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_tight_figure_of_a_policy_is_never_above_its_plain_sum(example):
    for days in (1, 28, 365):
        loss = loss_of(load_policy(example), days, tight=True)
        assert loss.tight is None or loss.tight <= loss.at_most


def test_a_cap_in_the_ledger_is_a_cap_in_dp_accounting():
    """Releases that our caps let pass: what is proven of them is at most the cap."""
    mechanism, caps = RandomizedResponse(0.5), Caps(to_nano(2.0), to_nano(5.0), to_nano(6.0))
    debits = []
    for window in range(40):
        asked = Debit(window * 28 * 86_400, mechanism.charge())
        if check_caps(debits, caps, asked) is None:
            debits.append(asked)
    one = privacy_loss_distribution.from_randomized_response(2 * (1 - mechanism.truth), 2)

    assert len(debits) == 12
    assert one.self_compose(len(debits)).get_epsilon_for_delta(DELTA) <= 6.0 + len(debits) * GRID
    assert sum(debit.nano for debit in debits) == 6 * NANO
