"""docs/openapi.json, generated from the routes themselves."""

import json

from services.api import routed


def openapi() -> str:
    """Render the OpenAPI document; stable, so that a change of it shows in a diff."""
    return json.dumps(routed().openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
