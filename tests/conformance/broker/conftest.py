"""The brokers under trial: one shared by all cases of a kind, and runs of a case with a broker's known failures."""

import pytest

from broker.embedded.packets import MalformedPacket, ProtocolViolation
from tests.conformance.broker import (  # noqa: F401 - they fill the suite
    cases_delivery,
    cases_limits,
    cases_retained,
    cases_sessions,
    cases_version5,
    cases_wills,
)
from tests.conformance.broker.clients import Closed
from tests.conformance.broker.failures import FAILS, LACKS
from tests.conformance.broker.site import PATIENCE, Site
from tests.conformance.broker.suite import CASES, check_broker

_IMPATIENCE = 1.5
"""Seconds to wait for what is known not to come."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Give the broker of a kind that all cases share; it is started at the first question."""
    sites = {}

    def site_of(kind):
        if kind not in sites:
            sites[kind] = Site(kind, tmp_path_factory.mktemp(kind) / "data").start()
        return sites[kind]

    yield site_of
    for site in sites.values():
        site.stop()


@pytest.fixture
def run(shared, tmp_path):
    """Give a function that tries a case on a kind of broker, by the tables of known failures."""

    def try_case(kind, name):
        case = CASES[name]
        for need in sorted(case.needs & LACKS[kind].keys()):
            pytest.xfail(f"{kind} lacks {need}: {LACKS[kind][need]}")
        failure = FAILS[kind].get(name)
        site = Site(kind, tmp_path / "data").start() if case.own else shared(kind)
        site.patience = _IMPATIENCE if failure else PATIENCE
        try:
            check_broker(case, site)
        except (AssertionError, Closed, OSError, MalformedPacket, ProtocolViolation):
            if failure is None:
                raise
            pytest.xfail(failure.why)
        finally:
            if case.own:
                site.stop()
        if failure is not None and not failure.sometimes:
            pytest.fail(f"{kind} keeps this now: take it out of failures.py")

    return try_case


def pytest_generate_tests(metafunc):
    """One test a case, for every test that asks for `name`."""
    if "name" in metafunc.fixturenames:
        marks = {True: [pytest.mark.slow], False: []}
        params = [pytest.param(name, marks=marks[case.slow]) for name, case in CASES.items()]
        metafunc.parametrize("name", params)
