"""The development inbox on a real disk."""

import stat
from pathlib import Path

from services.sms import DevelopmentInbox, Sms, read_inbox


async def test_what_is_sent_is_read_in_order_by_number(tmp_path: Path) -> None:
    path = tmp_path / "sms.jsonl"
    inbox = DevelopmentInbox(path)
    for number in range(3):
        await inbox.send(f"+4915{number % 2}", f"text {number}\nöä", number)
    assert [sms.text for sms in read_inbox(path)] == [f"text {number}\nöä" for number in range(3)]
    assert read_inbox(path, "+49151") == [Sms(1, "+49151", "text 1\nöä")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_it_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "sms.jsonl"
    inbox = DevelopmentInbox(path)
    for number in range(600):
        await inbox.send("+49151", f"{number} " + "x" * 1_000, number)
    assert path.stat().st_size <= 256 * 1024
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = [sms.at for sms in read_inbox(path)]
    assert kept == list(range(kept[0], 600))
    assert len(kept) > 100


def test_nothing_there_and_half_a_line_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "sms.jsonl"
    assert read_inbox(path) == []
    path.write_bytes(b'{"at":1,"phone":"+1","text":"a"}\n{"at":2,"pho')
    assert [sms.at for sms in read_inbox(path)] == [1]
