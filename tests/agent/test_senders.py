"""Who may speak, and about what: one case a rule of the policy's `senders`."""

import hashlib

import pytest

from discreet_agent.event import EventLine, EventRefusal, Refused
from discreet_agent.senders import ANYONE, Peer, Senders, Speaker, screen
from discreet_contract.policy.operation import Sender

AGENT, ALICE, BOB, AUDIO = 990, 1000, 1001, 29
TOKEN = hashlib.sha256(b"open sesame").hexdigest()


def who(senders, peer):
    """Name of the speaker, or the reason of the refusal."""
    found = Senders(senders, AGENT).identify(peer)
    return found.reason if isinstance(found, Refused) else found.name


def event(signal):
    return EventLine(signal=signal, version="1-0-0", time=1)


def test_where_no_senders_are_declared_everybody_may_say_everything():
    assert Senders({}, AGENT).identify(Peer(uid=ALICE)) == ANYONE
    assert Senders({}, AGENT).identify(Peer(token_sha256=TOKEN)) == ANYONE
    assert ANYONE.may_send("door.opened")
    assert ANYONE.may_read_feature("minutes_7d")
    assert ANYONE.may_read_segment("binge")
    assert ANYONE.may_read_flag("autoplay")


def test_a_sender_reads_what_its_entry_lists_and_nothing_else():
    """Each list by itself: who may read a flag may not therefore read the feature that turns it."""
    senders = {"app": Sender(uid=ALICE, features=("minutes_7d",), segments=("binge",), flags=("autoplay",))}
    app = Senders(senders, AGENT).identify(Peer(ALICE))

    assert [app.may_read_feature(name) for name in ("minutes_7d", "evenings", "binge")] == [True, False, False]
    assert [app.may_read_segment(name) for name in ("binge", "minutes_7d")] == [True, False]
    assert [app.may_read_flag(key) for key in ("autoplay", "rows")] == [True, False]
    assert not app.may_send("door.opened")


def test_a_sender_without_lists_reads_nothing():
    app = Senders({"app": Sender(uid=ALICE, signals=("door.opened",))}, AGENT).identify(Peer(ALICE))
    assert app.may_send("door.opened")
    assert [app.may_read_feature("x"), app.may_read_segment("x"), app.may_read_flag("x")] == [False] * 3


def test_a_speaker_made_without_a_word_about_reading_reads_nothing():
    speaker = Speaker("app", None)
    assert [speaker.may_read_feature("x"), speaker.may_read_segment("x"), speaker.may_read_flag("x")] == [False] * 3


@pytest.mark.parametrize(
    ("sender", "peer", "is_it"),
    [
        (Sender(uid=ALICE), Peer(uid=ALICE), True),
        (Sender(uid=ALICE), Peer(uid=BOB), False),
        (Sender(uid=ALICE), Peer(), False),
        (Sender(gid=AUDIO), Peer(uid=BOB, groups=frozenset({BOB, AUDIO})), True),
        (Sender(gid=AUDIO), Peer(uid=BOB, groups=frozenset({BOB})), False),
        (Sender(uid=ALICE, gid=AUDIO), Peer(uid=ALICE), False),
        (Sender(token_sha256=TOKEN), Peer(token_sha256=TOKEN), True),
        (Sender(token_sha256=TOKEN), Peer(uid=ALICE), False),
        (Sender(token_sha256=TOKEN, uid=ALICE), Peer(uid=BOB, token_sha256=TOKEN), False),
        (Sender(uid=ALICE), Peer(uid=ALICE, token_sha256=TOKEN), False),
        (Sender(), Peer(uid=BOB), True),
        (Sender(), Peer(uid=BOB, token_sha256=TOKEN), False),
    ],
)
def test_a_sender_is_who_meets_all_that_its_entry_states(sender, peer, is_it):
    assert who({"app": sender}, peer) == ("app" if is_it else EventRefusal.SENDER_UNKNOWN)


def test_the_entry_that_asks_for_most_wins_then_the_first_by_name():
    """So that one program is one sender, whatever the order of a file."""
    senders = {
        "anybody": Sender(),
        "by_group": Sender(gid=AUDIO),
        "z_user": Sender(uid=ALICE),
        "a_user": Sender(uid=ALICE),
        "by_token": Sender(token_sha256=TOKEN),
    }
    groups = frozenset({AUDIO})
    assert who(senders, Peer(ALICE, groups, TOKEN)) == "by_token"
    assert who(senders, Peer(ALICE, groups)) == "a_user"
    assert who(senders, Peer(BOB, groups)) == "by_group"
    assert who(senders, Peer(BOB)) == "anybody"


@pytest.mark.parametrize("owner", [0, AGENT])
def test_root_and_the_agents_own_user_may_say_everything_unless_an_entry_states_them(owner):
    """They could write into its files as well; an entry that names them is the operator's own wish."""
    assert Senders({"app": Sender(uid=ALICE)}, AGENT).identify(Peer(owner)) == ANYONE
    assert Senders({"app": Sender()}, AGENT).identify(Peer(owner)) == ANYONE
    stated = Senders({"app": Sender(uid=owner, signals=("door.opened",))}, AGENT).identify(Peer(owner))
    assert stated == Speaker("app", frozenset({"door.opened"}))


def test_a_wrong_token_is_refused_even_for_root():
    """A mistake that works by accident would be found when the program is run as another user."""
    assert who({"app": Sender(token_sha256=TOKEN)}, Peer(0, token_sha256="0" * 64)) == EventRefusal.SENDER_UNKNOWN


def test_only_the_owner_may_ask():
    senders = Senders({"app": Sender(uid=ALICE)}, AGENT)
    assert [senders.is_owner(Peer(uid)) for uid in (0, AGENT, ALICE, None)] == [True, True, False, False]


def test_a_sender_says_what_its_signals_list_and_nothing_else():
    """An empty list is nothing; what could not be read stays refused for its own reason."""
    app = Speaker("app", frozenset({"door.opened"}))
    broken = Refused(EventRefusal.MALFORMED, "x")
    opened, closed = event("door.opened"), event("door.closed")

    screened = screen(app, [opened, closed, broken])

    assert screened[0] is opened
    assert screened[1].reason is EventRefusal.SIGNAL_NOT_ALLOWED
    assert screened[2] is broken
    assert screen(Speaker("reader", frozenset()), [opened])[0].reason is EventRefusal.SIGNAL_NOT_ALLOWED
    assert list(screen(ANYONE, [opened, closed])) == [opened, closed]


def test_a_stranger_learns_nothing_of_what_it_said():
    stranger = Senders({"app": Sender(uid=ALICE)}, AGENT).identify(Peer(BOB))
    said = screen(stranger, [event("door.opened"), Refused(EventRefusal.MALFORMED, "x")])
    assert [item.reason for item in said] == [EventRefusal.SENDER_UNKNOWN] * 2


def test_printing_a_peer_shows_no_token():
    assert TOKEN not in repr(Peer(ALICE, token_sha256=TOKEN))
