"""`check_broker_acl`: one black-box suite of rights over MQTT, run on every broker that asks our gate."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.cases", f"{__name__}.suite")
