"""What each broker is known to fail of `check_broker_acl`."""

from tests.conformance.broker.failures import Failure

FAILS: dict[str, dict[str, Failure]] = {
    "embedded": {},
    "mosquitto": {},
    "amqtt": {},
}
