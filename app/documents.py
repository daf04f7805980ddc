"""The generated documents: `python -m app.documents` writes them, `--check` fails when one is stale.

Rules: each document is a pure function of code; nothing in it is edited by hand.
"""

import argparse
import difflib
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final

from app.settings import Settings

ROOT: Final = Path(__file__).resolve().parent.parent


def settings_table() -> str:
    """Render docs/settings.md from the settings themselves."""
    rows = [
        f"| `TIDINGS_{name.upper()}` | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    intro = "From the environment, or without the prefix in `tidings.toml` (`TIDINGS_CONFIG` names another file)."
    head = f"# Settings\n\n{intro}\n"
    return "\n".join([head, "| setting | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _late(module: str, function: str) -> Callable[[], str]:
    return lambda: str(getattr(import_module(module), function)())


DOCUMENTS: Final[dict[str, Callable[[], str]]] = {
    "docs/settings.md": settings_table,
    "docs/asyncapi.yaml": _late("tidings.protocol.asyncapi", "document"),
    "docs/limits.md": _late("tidings.protocol.asyncapi", "limits_table"),
    "docs/openapi.json": _late("services.documents", "openapi"),
}
"""Each generated file and what makes it."""


def stale() -> dict[str, str]:
    """Tell the documents that are not current: path to a unified diff."""
    differences: dict[str, str] = {}
    for path, make in DOCUMENTS.items():
        file = ROOT / path
        old, new = (file.read_text() if file.exists() else ""), make()
        if old != new:
            lines = difflib.unified_diff(old.splitlines(), new.splitlines(), path, "generated", lineterm="")
            differences[path] = "\n".join(list(lines)[:40])
    return differences


def main() -> int:
    """Write or check the documents; the exit status is 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python -m app.documents --check")
    parser.add_argument("--check", action="store_true", help="change nothing, fail when one is stale")
    if not parser.parse_args().check:
        for path, make in DOCUMENTS.items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(make())
        return 0
    differences = stale()
    for path, difference in differences.items():
        print(f"{path} is stale; run `make docs`\n{difference}", file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
