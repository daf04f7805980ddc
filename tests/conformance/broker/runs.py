"""Trying a case on a broker by the tables of known failures."""

from contextlib import contextmanager

import pytest

from broker.embedded.packets import MalformedPacket, ProtocolViolation
from tests.conformance.broker.clients import Closed
from tests.conformance.broker.site import PATIENCE

_IMPATIENCE = 1.5
"""Seconds to wait for what is known not to come."""


@contextmanager
def known(kind, failure, site):
    """Run a case: what is listed must fail, and what is not listed must not."""
    site.patience = _IMPATIENCE if failure else PATIENCE
    try:
        yield
    except (AssertionError, Closed, OSError, MalformedPacket, ProtocolViolation):
        if failure is None:
            raise
        pytest.xfail(failure.why)
    if failure is not None and not failure.sometimes:
        pytest.fail(f"{kind} keeps this now: take it out of failures.py")
