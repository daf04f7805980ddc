"""What each broker is known to fail of `check_broker_acl`.

Mosquitto is not tried: tokens reach it by a plugin, which is later work.
"""

from tests.conformance.broker.failures import Failure

FAILS: dict[str, dict[str, Failure]] = {
    "embedded": {},
    "amqtt": {},
}
