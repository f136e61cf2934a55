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

    def publish(self, envelope, _expires_in_seconds=None):
        if len(self.published) >= self.room:
            return False
        self.published.append(envelope)
        return True


def row(number):
    return OutboxRow(bytes([number] * 16), "m", 0, "rr-1", b"\0", "no", bytes(32), b"envelope %d" % number, 0, 0, 16)


ROWS = [row(0x11), row(0xA2)]


def test_a_report_goes_out_again_after_a_wait_that_grows():
    """Byte for byte; the wait lies between half and the whole of what it doubled to, and an hour at the most."""
    courier, link = Courier(resend_seconds=10), RecordingLink()
    waits = []
    for times in (0, 1, 2, 30):
        [handed] = courier.send([replace(ROWS[0], times_sent=times)], link, now_ms=1_000)
        waits.append((handed.again_at_ms - 1_000) / 1000)

    assert all(longest / 2 <= wait <= longest for wait, longest in zip(waits, (10, 20, 40, 3600), strict=True))
    assert set(link.published) == {ROWS[0].envelope}


def test_receipts_are_listened_for_before_a_report_goes_out():
    """In the bucket of its id's first bits."""
    courier, link = Courier(resend_seconds=10), RecordingLink()
    courier.send(ROWS, link, now_ms=0)

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
    handed = Courier(resend_seconds=10).send(ROWS, RecordingLink(room=1), now_ms=0)

    assert [one.report_id for one in handed] == [ROWS[0].report_id]


def test_garbage_on_the_receipts_topic_is_no_receipt():
    """Anybody may have written it."""
    assert read_receipts(b"\xc1garbage") == ()
    assert read_receipts(b"") == ()
    assert len(read_receipts(encode_receipts((Receipt(bytes(16), 0, bytes(16)),)))) == 1
