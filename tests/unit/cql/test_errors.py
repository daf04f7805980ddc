"""What a driver's error means, kind by kind: surely not done, or unknown."""

import pytest
from cassandra import (
    InvalidRequest,
    OperationTimedOut,
    ReadTimeout,
    Unauthorized,
    Unavailable,
    WriteFailure,
    WriteTimeout,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionShutdown
from cassandra.protocol import OverloadedErrorMessage, ServerError

from stores.cql.driver import Ask, _translated
from tidings.protocol.errors import OutcomeUnknown, StoreUnavailable

NOT_SENT = NoHostAvailable("nobody", {})
REFUSED = [InvalidRequest("too large"), Unauthorized("who?")]
TOO_FEW = Unavailable("too few", consistency=6, required_replicas=2, alive_replicas=1)
WHO_KNOWS = [
    WriteTimeout("late", write_type=0),
    WriteFailure("failed", write_type=0),
    OperationTimedOut(),
    ConnectionShutdown("cut"),
    OverloadedErrorMessage(0x1001, "busy", None),
    ServerError(0, "bug", None),
]


@pytest.mark.parametrize("error", [NOT_SENT, *REFUSED, TOO_FEW, *WHO_KNOWS, ReadTimeout("late")], ids=repr)
@pytest.mark.parametrize("ask", [Ask.READ, Ask.SERIAL_READ])
def test_a_failed_read_did_nothing(ask, error):
    assert isinstance(_translated(error, ask), StoreUnavailable)


@pytest.mark.parametrize("error", [NOT_SENT, *REFUSED], ids=repr)
@pytest.mark.parametrize("ask", [Ask.WRITE, Ask.COMPARE])
def test_what_was_not_sent_or_was_refused_is_surely_not_done(ask, error):
    assert isinstance(_translated(error, ask), StoreUnavailable)


@pytest.mark.parametrize("error", WHO_KNOWS, ids=repr)
@pytest.mark.parametrize("ask", [Ask.WRITE, Ask.COMPARE])
def test_all_else_is_unknown(ask, error):
    assert isinstance(_translated(error, ask), OutcomeUnknown)


def test_too_few_replicas_refuse_a_plain_write_but_may_end_a_conditional_one():
    assert isinstance(_translated(TOO_FEW, Ask.WRITE), StoreUnavailable)
    assert isinstance(_translated(TOO_FEW, Ask.COMPARE), OutcomeUnknown)
