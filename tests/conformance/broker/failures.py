"""What each broker is known to fail, and why: the tables that the tests hold to be true and docs/brokers.md is made of.

Rules
- `LACKS` are abilities that a broker has not got; cases that need one are not run on it.
- `FAILS` are cases that a broker does not pass. A listed case that passes is a fault of this table, unless it fails
  only `sometimes`.
- The embedded broker has no entries.
"""

from typing import NamedTuple


class Failure(NamedTuple):
    """Why a case fails; `sometimes` when it does so by chance, or only in some versions."""

    why: str
    sometimes: bool = False


LACKS: dict[str, dict[str, str]] = {
    "embedded": {},
    "mosquitto": {
        "crash-safe": "it saves within a second; kill -9 loses that second, and the store's gap repair heals it",
        "connect-timeout": "it has no such setting: a connection that never says CONNECT stays for 90 s",
        "rate-limit": "it has no such setting",
        "subscription-limit": "it has no such setting",
        "will-limit": "a will is limited as a packet is",
        "websocket-path": "it serves every path",
    },
    "amqtt": {
        "mqtt5": 'it speaks MQTT 3.1.1 alone; the door answers version 5 with "unsupported protocol version"',
        "shared": "it has no shared subscriptions",
        "durable": "a restart keeps nothing",
        "crash-safe": "kill -9 keeps nothing",
        "queue-limit": "its queues have no limit, and nothing counts",
        "inflight-limit": "it sends everything at once",
        "rate-limit": "it reads as fast as it can, and keeps it",
        "buffer-limit": "what a slow reader does not read is kept without limit",
        "connection-limit": "connections beyond the limit wait, unanswered",
        "will-limit": "a will is limited as a packet is",
        "subscription-limit": "it has no such setting",
        "empty-client-id": "the door binds each client to its id; a client without one is not let in",
        "websocket-path": "it serves every path",
    },
}

FAILS: dict[str, dict[str, Failure]] = {
    "embedded": {},
    "mosquitto": {
        "a_drop_makes_the_broker_unready": Failure(
            "drops are counted in $SYS; what follows of them is not decided here"
        ),
        "overlapping_subscriptions_deliver_once_or_once_each": Failure(
            "2.0.11 sends one copy, with the QoS of one of the subscriptions, not the highest", sometimes=True
        ),
        "the_receive_maximum_of_a_client_is_kept": Failure("2.0.11 sends more after the first PUBACK", sometimes=True),
        "a_delayed_will_is_sent_at_the_sessions_end": Failure("2.0.11 waits for the delay", sometimes=True),
        "a_take_over_says_so": Failure("2.0.11 closes without a word when the new client starts clean", sometimes=True),
        "more_than_the_servers_receive_maximum_is_refused": Failure("2.0.11 takes what comes", sometimes=True),
        "no_local_on_a_shared_subscription_is_refused": Failure("2.0.11 takes it", sometimes=True),
        "malformed_packets_of_version_5_end_the_connection": Failure(
            "2.0.11 takes DUP with QoS 0, and a subscription id from a client", sometimes=True
        ),
    },
    "amqtt": {
        "a_clean_session_ends_with_its_connection": Failure(
            "it finds a session until its next round, within a second", True
        ),
        "queued_messages_come_at_the_return_in_order": Failure("they come out of order, some twice", True),
        "queued_qos_2_messages_come_once": Failure("they come out of order", True),
        "what_is_queued_goes_to_aiomqtt_too": Failure("out of order", True),
        "qos_0_is_not_queued_for_the_absent": Failure("it is queued: publishes take the subscription's QoS"),
        "unacknowledged_messages_come_again_with_dup": Failure("what was in flight at a cut is lost"),
        "acknowledged_messages_do_not_come_again": Failure("what was in flight at a cut is lost"),
        "cuts_in_mid_drain_lose_nothing": Failure("what was in flight at a cut is lost"),
        "a_pubrel_is_answered_after_a_reconnect": Failure("QoS 2 deliveries do not survive a cut"),
        "a_repeated_qos_2_publish_is_delivered_once": Failure("QoS 2 receipts do not survive a cut"),
        "the_newer_connection_takes_a_session_over": Failure("after a take-over the session's messages are lost"),
        "a_take_over_carries_unacknowledged_messages_along": Failure("after a take-over they are lost"),
        "a_flood_of_take_overs_leaves_one_connection": Failure("several connections stay under one client id", True),
        "each_pair_of_qualities_gives_the_lower": Failure("publishes take the subscription's QoS"),
        "publish_and_subscribe_by_the_stock_tools": Failure("the second message is not delivered", True),
        "overlapping_subscriptions_deliver_once_or_once_each": Failure("copies come with the subscription's QoS", True),
        "a_second_subscription_replaces_the_first": Failure("the first subscription's QoS stays"),
        "malformed_packets_end_the_connection": Failure("packet id 0, reserved flags and more are taken"),
    },
}
