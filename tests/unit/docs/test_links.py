"""Documents for people: their links lead somewhere, and the commands they name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/*.md")})
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")

named = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = HEADING.findall(document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@named
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(FENCE.sub("", document.read_text())):
        if "://" in link:
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{document.name}: {link}"


@named
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = document.read_text()
    shown = [*CODE.findall(text), *(line for _, block in FENCE.findall(text) for line in block.splitlines())]
    named_targets = {match[1] for line in shown for match in [re.match(r"make ([a-z-]+)", line)] if match}
    assert named_targets <= targets


@named
def test_settings_exist(document: Path) -> None:
    known = set(re.findall(r"TIDINGS_[A-Z_]+", (ROOT / "docs/settings.md").read_text())) | {"TIDINGS_HOME"}
    assert set(re.findall(r"TIDINGS_[A-Z_]*[A-Z]", document.read_text())) <= known


@named
def test_named_files_exist(document: Path) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"tidings"}
    for code in CODE.findall(FENCE.sub("", document.read_text())):
        if re.fullmatch(r"[\w./-]+/[\w.-]*", code) and code.split("/")[0] in folders and "…" not in code:
            found = (ROOT / code).exists() or (ROOT / "clients" / code).exists()
            assert found, f"{document.name}: {code}"


@named
def test_sub_commands_exist(document: Path) -> None:
    known: set[str] = set()
    for file in ("setup.cfg", "clients/setup.cfg"):
        commands = (ROOT / file).read_text().partition("tidings.commands =")[2].partition("\n\n")[0]
        known |= set(re.findall(r"^ +([a-z-]+) *=", commands, re.MULTILINE))
    text = document.read_text()
    shown = [
        *CODE.findall(FENCE.sub("", text)),
        *(line for _, block in FENCE.findall(text) for line in block.splitlines()),
    ]
    assert {match[1] for line in shown if (match := re.match(r"tidings ([a-z-]+)", line))} <= known
