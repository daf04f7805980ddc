"""Any request has an answer that is documented: a value, or a problem below 500."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from acl import tokens
from acl.tokens import Claims
from tests.unit.services.doubles import KEYS, NOW, World
from tidings.protocol import ids

ALICE = ids.make_user_id(bytes(range(11)))
CONV = ids.direct_conversation(ALICE, ids.make_user_id(bytes(range(11, 22))))

WORLD = World()
TOKEN = tokens.issue(KEYS, Claims(ALICE, ids.make_device_id(b"phone1"), "person", NOW, NOW + 1_000_000))
HEADERS = {"Content-Type": "application/json"}
DOCUMENT = WORLD.app.openapi()

OPERATIONS = [
    (method, path)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if path not in ("/readyz", "/metrics")
]
NAMES = sorted({name for schema in DOCUMENT["components"]["schemas"].values() for name in schema["properties"]})
WORDS = st.sampled_from((ALICE, CONV, "text", "read", "+4915112345678")) | st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
PARAMETERS = st.dictionaries(st.sampled_from(("before", "after", "limit")), st.integers() | WORDS, max_size=3)


@given(
    st.sampled_from(OPERATIONS),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8) | JSON,
    PARAMETERS,
    st.tuples(WORDS, WORDS, st.integers() | WORDS),
)
@settings(max_examples=200, deadline=None)
async def test_any_request_has_a_documented_answer(
    operation: tuple[str, str], body: Any, query: dict[str, Any], names: tuple[Any, Any, Any]
) -> None:
    method, path = operation
    for field, value in zip(("{conv}", "{user}", "{seq}"), names, strict=True):
        path = path.replace(field, quote(str(value), safe="") or "x")
    async with WORLD.http(token=TOKEN) as http:
        answer = await http.request(method, path, content=json.dumps(body), params=query, headers=HEADERS)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
