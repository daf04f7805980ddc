"""What happens to the store on its worst days: locked, full, killed, replaced, garbage. And that it heals by itself."""

import asyncio
import sqlite3
import subprocess
import sys

import pytest

from stores.ports.log import Outcome
from stores.sql.engine import SqlEngine
from stores.sql.log import SqlLog
from stores.sql.schema import Chain
from tests.conformance.stores.entries import CONV, A, entry, row
from tidings.protocol.errors import StoreUnavailable


async def test_a_locked_store_refuses_and_heals(engine, tmp_path):
    log = SqlLog(engine)
    opened = await log.open(A, "one", 0)
    given = entry(opened.next_n, row(1), epoch=opened.epoch)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await log.commit(given)
    assert "locked" in (await engine.check())[0]
    assert await log.rows(CONV, 1, 9) == []
    other.execute("ROLLBACK")
    other.close()
    assert await log.commit(given) is Outcome.COMMITTED
    assert await engine.check() == []


async def test_a_store_heals_without_traffic(tmp_path):
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG, busy_ms=50, fault_seconds=0)
    await engine.start()
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await SqlLog(engine).open(A, "one", 0)
    assert await engine.check()
    other.execute("ROLLBACK")
    other.close()
    assert await engine.check() == []
    await engine.close()


async def test_a_full_disk_refuses_and_heals(tmp_path):
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.integration.stores.filler", str(tmp_path / "log.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "healed\n"), done.stderr


async def test_what_was_committed_survives_kill_9(tmp_path):
    file = tmp_path / "log.db"
    for round_ in range(5):
        last_n, last_seq = await asyncio.to_thread(_commit_and_kill, file, 5 + 7 * round_)
        engine = SqlEngine(file, Chain.LOG)
        await engine.start()
        log = SqlLog(engine)
        entries = await log.read(A, 0, 10_000)
        assert [one.n for one in entries] == list(range(1, len(entries) + 1))
        assert entries[-1].n in (last_n, last_n + 1), "at most the one in flight came on top"
        head = (await log.header(CONV)).conversation.head
        assert head >= last_seq
        written = [found.seq for one in entries for found in one.rows]
        assert written == list(range(1, head + 1))
        assert [found.seq for found in await log.rows(CONV, 1, head)] == written
        await engine.close()


def _commit_and_kill(file, lines):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.stores.committer", str(file)], stdout=subprocess.PIPE, text=True
    )
    with process:
        for _ in range(lines):
            n, seq = process.stdout.readline().split()
        process.kill()
        for line in process.stdout:  # what it had said before it died
            if line.endswith("\n"):
                n, seq = line.split()
    return int(n), int(seq)


async def test_a_lost_file_is_not_begun_anew(engine, tmp_path):
    log = SqlLog(engine)
    opened = await log.open(A, "one", 0)
    kept = tmp_path / "elsewhere"
    (tmp_path / "log.db").rename(kept)
    given = entry(opened.next_n, row(1), epoch=opened.epoch)
    with pytest.raises(StoreUnavailable):
        await log.commit(given)
    with pytest.raises(StoreUnavailable):
        await log.rows(CONV, 1, 9)
    assert await engine.check()
    assert not (tmp_path / "log.db").exists()
    kept.rename(tmp_path / "log.db")
    assert await log.commit(given) is Outcome.COMMITTED
    assert await engine.check() == []


async def test_a_replaced_file_is_not_written_to(engine, tmp_path):
    log = SqlLog(engine)
    opened = await log.open(A, "one", 0)
    (tmp_path / "log.db").rename(tmp_path / "old")
    (tmp_path / "log.db").write_bytes((tmp_path / "old").read_bytes())
    with pytest.raises(StoreUnavailable, match="replaced"):
        await log.commit(entry(opened.next_n, row(1), epoch=opened.epoch))


async def test_garbage_is_refused_in_one_line(tmp_path):
    (tmp_path / "log.db").write_bytes(b"garbage " * 1_000)
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await engine.start()
    await engine.close()


async def test_too_little_disk_is_told(tmp_path):
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG, free_least=1 << 62)
    await engine.start()
    assert "disk left" in (await engine.check())[0]
    await engine.close()


async def test_a_closed_store_is_unavailable(tmp_path):
    engine = SqlEngine(tmp_path / "log.db", Chain.LOG)
    await engine.start()
    await engine.close()
    with pytest.raises(StoreUnavailable):
        await SqlLog(engine).open(A, "one", 0)
    with pytest.raises(StoreUnavailable):
        await SqlLog(engine).rows(CONV, 1, 9)


async def test_every_commit_reaches_the_disk(engine):
    def settings(connection):
        names = ("synchronous", "journal_mode", "fullfsync", "checkpoint_fullfsync")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await engine.write(settings) == [2, "wal", 1, 1]
    assert await engine.read(settings) == [2, "wal", 1, 1]
