"""The generated OpenAPI document."""

import json
from pathlib import Path

from services.documents import openapi

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == openapi(), "run `make docs`"


def test_every_operation_is_described_and_may_answer_a_problem() -> None:
    for path, operations in json.loads(openapi())["paths"].items():
        for method, operation in operations.items():
            assert operation["description"], (method, path)
            assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]
