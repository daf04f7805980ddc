"""docs/brokers.md says what the tables say, and the tables name cases that exist."""

from tests.conformance.acl import failures as rights
from tests.conformance.acl.suite import CASES as RIGHTS
from tests.conformance.broker import document
from tests.conformance.broker.differences import DIFFERENCES
from tests.conformance.broker.failures import FAILS, LACKS
from tests.conformance.broker.scripts import SCRIPTS
from tests.conformance.broker.suite import CASES


def test_document_is_current():
    assert document.PATH.read_text() == document.text(), "run: python -m tests.conformance.broker.document"


def test_tables_name_cases_that_exist():
    needs = {need for case in CASES.values() for need in case.needs}
    for kind in FAILS:
        assert FAILS[kind].keys() <= CASES.keys()
        assert LACKS[kind].keys() <= needs
    for listed in rights.FAILS.values():
        assert listed.keys() <= RIGHTS.keys()
    assert {one.script for group in DIFFERENCES.values() for one in group} <= SCRIPTS.keys()


def test_every_case_says_what_it_promises():
    assert [case.name for case in (*CASES.values(), *RIGHTS.values()) if len(case.promise) < 20] == []


def test_the_embedded_broker_has_no_known_failure():
    assert FAILS["embedded"] == LACKS["embedded"] == rights.FAILS["embedded"] == {}
