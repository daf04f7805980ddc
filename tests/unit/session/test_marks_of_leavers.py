"""Watermarks of members who leave and come back: they never fall, and who is gone holds no tick back."""

from tests.unit.session.server import PEERS
from tidings.protocol.ids import MessageId
from tidings.session import State
from tidings.session.receipts import Receipts

BOB, CAROL = PEERS.values()


def test_a_mark_does_not_fall_when_its_member_leaves_and_comes_back() -> None:
    marks = Receipts()
    assert marks.move(BOB, "delivered", 4)
    marks.leave(BOB)
    assert not marks.move(BOB, "delivered", 2)
    marks.join(BOB)
    assert not marks.move(BOB, "delivered", 4)
    assert marks.move(BOB, "delivered", 5)


def test_a_late_receipt_of_a_leaver_holds_no_tick_back() -> None:
    marks = Receipts()
    marks.join(BOB)
    marks.join(CAROL)
    marks.own(3, MessageId("m"))
    marks.leave(CAROL)
    assert not marks.move(CAROL, "delivered", 2)
    assert marks.move(BOB, "read", 3)
    assert [state for _, _, state in marks.reached()] == [State.DELIVERED, State.READ]
