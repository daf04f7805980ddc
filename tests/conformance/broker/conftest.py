"""The brokers under trial: one that all cases of a kind share, and one for each case that stops its broker."""

import pytest
from msgspec import structs

from tests.conformance.broker import (  # noqa: F401 - they fill the suite
    cases_delivery,
    cases_limits,
    cases_retained,
    cases_sessions,
    cases_version5,
    cases_wills,
)
from tests.conformance.broker.failures import FAILS, LACKS
from tests.conformance.broker.runs import known
from tests.conformance.broker.site import LIMITS, Site
from tests.conformance.broker.suite import CASES, check_broker


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
    """Give a function that tries a case on a kind of broker."""

    def try_case(kind, name):
        case = CASES[name]
        for need in sorted(case.needs & LACKS[kind].keys()):
            pytest.xfail(f"{kind} lacks {need}: {LACKS[kind][need]}")
        limits = structs.replace(LIMITS, **case.limits)
        site = Site(kind, tmp_path / "data", limits).start() if case.own else shared(kind)
        try:
            with known(kind, FAILS[kind].get(name), site):
                check_broker(case, site)
        finally:
            if case.own:
                site.stop()

    return try_case


def pytest_generate_tests(metafunc):
    """One test a case, for every test that asks for `name`."""
    if "name" in metafunc.fixturenames:
        marks = {True: [pytest.mark.slow], False: []}
        params = [pytest.param(name, marks=marks[case.slow]) for name, case in CASES.items()]
        metafunc.parametrize("name", params)
