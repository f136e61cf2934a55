"""The courier: what goes out now, and again with the same bytes until its receipt comes."""

from dataclasses import replace

from discreet_agent.publish import Courier, read_receipts
from discreet_agent.store.outbox import OutboxRow
from discreet_contract.wire import Receipt, encode_receipts


class RecordingLink:
    """Takes a number of envelopes, then none."""

    def __init__(self, room=100):
        self.room = room
        self.published = []
        self.buckets = set()

    def listen(self, bucket):
        self.buckets.add(bucket)

    def publish(self, envelope):
        if len(self.published) >= self.room:
            return False
        self.published.append(envelope)
        return True


def row(number):
    return OutboxRow(bytes([number] * 16), "m", 0, "rr-1", b"\0", "no", bytes(32), b"envelope %d" % number, 0, 0, 16)


ROWS = [row(0x11), row(0xA2)]


def test_each_report_goes_out_once_until_its_wait_is_over():
    """Then again, byte for byte, with a longer wait."""
    courier, link = Courier(resend_seconds=10), RecordingLink()

    assert courier.send(ROWS, link, boot_ms=0) == 2
    assert courier.send(ROWS, link, boot_ms=4_999) == 0
    assert courier.send(ROWS, link, boot_ms=10_001) == 2
    assert courier.send(ROWS, link, boot_ms=19_000) == 0
    assert courier.send(ROWS, link, boot_ms=40_000) == 2
    assert set(link.published) == {item.envelope for item in ROWS}


def test_receipts_are_listened_for_before_a_report_goes_out():
    """In the bucket of its id's first bits."""
    courier, link = Courier(resend_seconds=10), RecordingLink()
    courier.send(ROWS, link, boot_ms=0)

    assert link.buckets == {"1", "a"}


def test_receipts_come_in_the_buckets_of_the_policy_that_made_the_report():
    """A later policy may have another number of them; the aggregator answers by the report's own."""
    link = RecordingLink()
    Courier(resend_seconds=10).send(
        [replace(ROWS[0], receipt_buckets=1), replace(ROWS[1], receipt_buckets=256)], link, 0
    )

    assert link.buckets == {"0", "a2"}


def test_what_the_link_does_not_take_stays_due():
    """Nothing counts as sent that was not handed over."""
    courier = Courier(resend_seconds=10)

    assert courier.send(ROWS, RecordingLink(room=1), boot_ms=0) == 1
    assert courier.send(ROWS, RecordingLink(), boot_ms=1) == 1


def test_after_a_restart_everything_waiting_is_due():
    """Waits live in memory."""
    Courier(resend_seconds=10).send(ROWS, RecordingLink(), boot_ms=0)
    assert Courier(resend_seconds=10).send(ROWS, RecordingLink(), boot_ms=1) == 2


def test_garbage_on_the_receipts_topic_is_no_receipt():
    """Anybody may have written it."""
    assert read_receipts(b"\xc1garbage") == ()
    assert read_receipts(b"") == ()
    assert len(read_receipts(encode_receipts((Receipt(bytes(16), 0, bytes(16)),)))) == 1
