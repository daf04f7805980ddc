"""The generated documents are current and whole."""

import json
from pathlib import Path

import yaml

from tidings.protocol import asyncapi, errors, events, payloads, topics

DOCS = Path(__file__).parents[3] / "docs"


def test_the_asyncapi_document_is_current() -> None:
    assert (DOCS / "asyncapi.yaml").read_text() == asyncapi.document(), "run `make docs`"


def test_the_table_of_limits_is_current() -> None:
    assert (DOCS / "limits.md").read_text() == asyncapi.limits_table(), "run `make docs`"


def test_it_is_yaml_as_well() -> None:
    assert yaml.safe_load(asyncapi.document()) == json.loads(asyncapi.document())


def test_every_reference_leads_somewhere() -> None:
    document = json.loads(asyncapi.document())

    def check(node: object) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                found = document
                for step in node["$ref"].removeprefix("#/").split("/"):
                    found = found[step]
            for inner in node.values():
                check(inner)
        elif isinstance(node, list):
            for inner in node:
                check(inner)

    check(document)


def test_every_form_error_and_event_is_in_it() -> None:
    document = json.loads(asyncapi.document())
    described = {name.split("-")[0] for name in document["channels"]}
    assert described == {form.__name__ for form in topics.FORMS} - {"Channel"}  # channels are not served yet
    assert set(document["x-errors"]) == set(errors.KINDS)
    assert set(document["x-events"]) == set(events.KINDS)


def test_events_and_messages_are_told_apart_by_a_dot() -> None:
    assert all(payloads.is_event(kind) for kind in events.KINDS)
    assert not payloads.is_event("text")
