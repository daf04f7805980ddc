"""docs/delivery-cases.md: every numbered case names tests, and every named test exists.

A name is `path::function` or `path::Class::function`; a conformance suite's case is named where it is written.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "delivery-cases.md"
ROW = re.compile(r"^\| DC-(\d+) \|(.*)\|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")

CASES = dict(ROW.findall(DOCUMENT.read_text()))
NAMED = sorted({test for row in CASES.values() for test in TEST.findall(row)})


@cache
def functions(path: str) -> frozenset[str]:
    """The tests of a file: functions and methods that pytest or a conformance suite collects."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if is_test(node):
                found.add(node.name)
            case ast.ClassDef():
                inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
                found |= {f"{node.name}::{one.name}" for one in inner if is_test(one)}
            case ast.Assign(targets=[ast.Name(name)]) if name.startswith("Test"):  # a rule machine's TestCase
                found.add(name)
    return frozenset(found)


def is_test(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether something collects it: by its name, or by a suite's decorator."""
    decorators = {ast.unparse(one).partition("(")[0] for one in function.decorator_list}
    return function.name.startswith(("test_", "check_")) or bool(decorators & {"case", "rule", "invariant"})


def test_cases_are_numbered_without_a_gap() -> None:
    numbers = [number for number, _ in ROW.findall(DOCUMENT.read_text())]
    assert numbers == [f"{number:02}" for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("number", CASES, ids=lambda number: f"DC-{number}")
def test_a_case_names_a_test(number: str) -> None:
    assert TEST.findall(CASES[number])


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part)
def test_a_named_test_exists(path: str, name: str) -> None:
    assert (ROOT / path).is_file(), path
    assert name in functions(path), f"{path} has no {name}"
