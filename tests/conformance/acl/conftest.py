"""The brokers under trial, with the real gate over a key set of the run."""

import pytest

from tests.conformance.acl import cases  # noqa: F401 - it fills the suite
from tests.conformance.acl.failures import FAILS
from tests.conformance.acl.keys import Mint
from tests.conformance.acl.suite import CASES, check_broker_acl
from tests.conformance.broker.runs import known
from tests.conformance.broker.site import Site


@pytest.fixture(scope="session")
def guarded(tmp_path_factory):
    """Give the broker of a kind, and the mint of its tokens."""
    made = {}

    def site_of(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(f"{kind}-acl")
            mint = Mint(folder)
            site = Site(kind, folder / "data", gate="tokens", keys=str(mint.path))
            made[kind] = (site.start(), mint)
        return made[kind]

    yield site_of
    for site, _ in made.values():
        site.stop()


@pytest.fixture
def run(guarded):
    """Give a function that tries a case on a kind of broker."""

    def try_case(kind, name):
        site, mint = guarded(kind)
        with known(kind, FAILS[kind].get(name), site):
            check_broker_acl(CASES[name], site, mint)

    return try_case


def pytest_generate_tests(metafunc):
    """One test a case."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", [pytest.param(name) for name in CASES])
