"""`check_broker`: one black-box suite over MQTT, run on every broker."""

import pytest

pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("clients", "cases_delivery", "cases_limits")),
    *(f"{__name__}.{module}" for module in ("cases_retained", "cases_sessions", "cases_version5", "cases_wills")),
)
