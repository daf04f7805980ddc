"""Where the embedded broker answers otherwise than Mosquitto 2.0.11, and why: the table that the comparison asserts.

Rules
- Both are given the same packets (`scripts.py`). A place is a script, a step's number and a connection.
- A difference that is not listed is a fault, and so is a listed one that is no more.
"""

from typing import NamedTuple

VERSION = "2.0.11"
"""The Mosquitto that the table is of."""


class Difference(NamedTuple):
    """What each answers in one place."""

    script: str
    step: int
    who: str
    embedded: str
    mosquitto: str


DIFFERENCES: dict[str, list[Difference]] = {
    'A wrong password is told by the reason made for it; Mosquitto says "not authorized".': [
        Difference(
            "refused_connects, 3.1.1",
            0,
            "a",
            "CONNACK BAD_USER_NAME_OR_PASSWORD; closed",
            "CONNACK NOT_AUTHORIZED; closed",
        ),
        Difference(
            "refused_connects, 3.1.1",
            6,
            "g",
            "CONNACK BAD_USER_NAME_OR_PASSWORD; closed",
            "CONNACK NOT_AUTHORIZED; closed",
        ),
        Difference(
            "refused_connects, 5", 0, "a", "CONNACK BAD_USER_NAME_OR_PASSWORD; closed", "CONNACK NOT_AUTHORIZED; closed"
        ),
        Difference(
            "refused_connects, 5", 6, "g", "CONNACK BAD_USER_NAME_OR_PASSWORD; closed", "CONNACK NOT_AUTHORIZED; closed"
        ),
    ],
    (
        "A QoS 2 message is handed on at PUBLISH, which 4.3.3 allows as well; Mosquitto waits for "
        "PUBREL. Each comes once."
    ): [
        Difference("publishing, 3.1.1", 5, "b", "PUBLISH 'T/x' b'2' q0", "nothing"),
        Difference("publishing, 3.1.1", 6, "b", "nothing", "PUBLISH 'T/x' b'2' q0"),
        Difference("publishing, 3.1.1", 10, "b", "PUBLISH 'T/x' b'2' q1 #2", "nothing"),
        Difference("publishing, 3.1.1", 11, "b", "nothing", "PUBLISH 'T/x' b'2' q1 #2"),
        Difference("publishing, 3.1.1", 15, "b", "PUBLISH 'T/x' b'2' q2 #4", "nothing"),
        Difference("publishing, 3.1.1", 16, "b", "nothing", "PUBLISH 'T/x' b'2' q2 #4"),
        Difference("repeats, 3.1.1", 5, "b", "PUBLISH 'T/x' b'x' q2 #3", "nothing"),
        Difference("repeats, 3.1.1", 10, "b", "nothing", "PUBLISH 'T/x' b'x' q2 #3"),
        Difference("publishing, 5", 5, "b", "PUBLISH 'T/x' b'2' q0", "nothing"),
        Difference("publishing, 5", 6, "b", "nothing", "PUBLISH 'T/x' b'2' q0"),
        Difference("publishing, 5", 10, "b", "PUBLISH 'T/x' b'2' q1 #2", "nothing"),
        Difference("publishing, 5", 11, "b", "nothing", "PUBLISH 'T/x' b'2' q1 #2"),
        Difference("publishing, 5", 15, "b", "PUBLISH 'T/x' b'2' q2 #4", "nothing"),
        Difference("publishing, 5", 16, "b", "nothing", "PUBLISH 'T/x' b'2' q2 #4"),
        Difference("repeats, 5", 5, "b", "PUBLISH 'T/x' b'x' q2 #3", "nothing"),
        Difference("repeats, 5", 10, "b", "nothing", "PUBLISH 'T/x' b'x' q2 #3"),
    ],
    "Topics that begin with `$` are the broker's own: what a client publishes there goes nowhere.": [
        Difference("dollar_topics, 3.1.1", 3, "b", "nothing", "PUBLISH '$other/T' b'other' q0"),
        Difference("dollar_topics, 5", 3, "b", "nothing", "PUBLISH '$other/T' b'other' q0"),
    ],
    "DUP with QoS 0 is a fault [3.3.1-2]; Mosquitto takes it.": [
        Difference("dup_with_qos_0, 3.1.1", 1, "a", "closed", "nothing"),
        Difference("dup_with_qos_0, 5", 1, "a", "DISCONNECT PROTOCOL_ERROR; closed", "nothing"),
    ],
    (
        'Control and non-characters "should not" be in a text [1.5.3]; Mosquitto refuses them, we pass '
        "them on as any other."
    ): [
        Difference("control_character_in_topic, 3.1.1", 1, "a", "nothing", "closed"),
        Difference("noncharacter_in_topic, 3.1.1", 1, "a", "nothing", "closed"),
        Difference("control_character_in_topic, 5", 1, "a", "nothing", "DISCONNECT MALFORMED_PACKET; closed"),
        Difference("noncharacter_in_topic, 5", 1, "a", "nothing", "DISCONNECT MALFORMED_PACKET; closed"),
    ],
    (
        "A shared subscription without a filter, or with a wildcard in its group's name, is refused "
        "[4.8.2]; Mosquitto takes it as a plain filter."
    ): [
        Difference(
            "share_without_filter, 3.1.1", 1, "a", "SUBACK 1: UNSPECIFIED_ERROR", "SUBACK 1: GRANTED_QOS_AT_MOST_ONCE"
        ),
        Difference(
            "share_with_wildcard_group, 3.1.1",
            1,
            "a",
            "SUBACK 1: UNSPECIFIED_ERROR",
            "SUBACK 1: GRANTED_QOS_AT_MOST_ONCE",
        ),
        Difference(
            "share_without_filter, 5", 1, "a", "SUBACK 1: TOPIC_FILTER_INVALID", "SUBACK 1: GRANTED_QOS_AT_MOST_ONCE"
        ),
        Difference(
            "share_with_wildcard_group, 5",
            1,
            "a",
            "SUBACK 1: TOPIC_FILTER_INVALID",
            "SUBACK 1: GRANTED_QOS_AT_MOST_ONCE",
        ),
    ],
    "MQTT 3.1 is not spoken; Mosquitto speaks it, and here refuses the missing password.": [
        Difference("level_of_mqtt_3_1, 3.1.1", 0, "a", "closed", "CONNACK NOT_AUTHORIZED; closed"),
        Difference("level_of_mqtt_3_1, 5", 0, "a", "closed", "wrong bytes: Invalid ConnAckReasonCode value: 5"),
    ],
    (
        '"No matching subscribers" is an answer that a server may give; ours would be one about other '
        "people's subscriptions."
    ): [
        Difference("sessions, 5", 10, "a", "PUBACK 9 SUCCESS", "PUBACK 9 NO_MATCHING_SUBSCRIBERS"),
        Difference("no_subscribers, 5", 2, "a", "PUBACK 1 SUCCESS", "PUBACK 1 NO_MATCHING_SUBSCRIBERS"),
        Difference("retained, 5", 2, "a", "PUBACK 1 SUCCESS", "PUBACK 1 NO_MATCHING_SUBSCRIBERS"),
        Difference("take_over, 5", 6, "c", "PUBACK 1 SUCCESS", "PUBACK 1 NO_MATCHING_SUBSCRIBERS"),
        Difference("shared, 5", 5, "a", "PUBACK 2 SUCCESS", "PUBACK 2 NO_MATCHING_SUBSCRIBERS"),
    ],
    "In version 5 a connection is told why it ends; Mosquitto often closes without a word.": [
        Difference(
            "refused_connects, 5",
            3,
            "d",
            "CONNACK SUCCESS; DISCONNECT PROTOCOL_ERROR; closed",
            "CONNACK SUCCESS; closed",
        ),
        Difference("take_over, 5", 2, "a", "DISCONNECT SESSION_TAKEN_OVER; closed", "closed"),
        Difference("take_over, 5", 5, "b", "DISCONNECT SESSION_TAKEN_OVER; closed", "closed"),
        Difference("auth_without_method, 5", 1, "a", "DISCONNECT PROTOCOL_ERROR; closed", "closed"),
        Difference("length_over_four_bytes, 5", 1, "a", "DISCONNECT MALFORMED_PACKET; closed", "closed"),
        Difference("a_servers_packet, 5", 1, "a", "DISCONNECT PROTOCOL_ERROR; closed", "closed"),
    ],
    (
        "Overlapping subscriptions give one copy, with the highest QoS and all subscription ids; "
        "Mosquitto gives one each in version 5 [3.3.4]."
    ): [
        Difference("subscribing, 5", 6, "a", "PUBLISH 'T/x' b'x' q0", "PUBLISH 'T/x' b'x' q0; PUBLISH 'T/x' b'x' q0"),
    ],
    "An acknowledgement of a packet id that is not known says so [3.6.2.1] [3.7.2.1]; Mosquitto says success.": [
        Difference("acknowledging_what_is_not_there, 5", 2, "a", "PUBCOMP 7 PACKET_ID_NOT_FOUND", "PUBCOMP 7 SUCCESS"),
        Difference("acknowledging_what_is_not_there, 5", 4, "a", "PUBREL 7 PACKET_ID_NOT_FOUND", "PUBREL 7 SUCCESS"),
        Difference("repeats, 5", 11, "a", "PUBCOMP 5 PACKET_ID_NOT_FOUND", "PUBCOMP 5 SUCCESS"),
    ],
    (
        'The reason of a DISCONNECT is "malformed packet" in one place and "protocol error" in the '
        "other; the connection ends in both."
    ): [
        Difference("wills, 5", 7, "a", "DISCONNECT MALFORMED_PACKET; closed", "DISCONNECT PROTOCOL_ERROR; closed"),
        Difference(
            "no_topic_filter, 5", 1, "a", "DISCONNECT PROTOCOL_ERROR; closed", "DISCONNECT MALFORMED_PACKET; closed"
        ),
        Difference(
            "subscribe_with_packet_id_0, 5",
            1,
            "a",
            "DISCONNECT PROTOCOL_ERROR; closed",
            "DISCONNECT MALFORMED_PACKET; closed",
        ),
        Difference(
            "empty_topic, 5", 1, "a", "DISCONNECT MALFORMED_PACKET; closed", "DISCONNECT PROTOCOL_ERROR; closed"
        ),
        Difference(
            "empty_filter, 5", 1, "a", "DISCONNECT PROTOCOL_ERROR; closed", "DISCONNECT MALFORMED_PACKET; closed"
        ),
        Difference(
            "wrong_filter, 5", 1, "a", "DISCONNECT PROTOCOL_ERROR; closed", "DISCONNECT MALFORMED_PACKET; closed"
        ),
        Difference("type_0, 5", 1, "a", "DISCONNECT MALFORMED_PACKET; closed", "DISCONNECT PROTOCOL_ERROR; closed"),
        Difference("aliases, 5", 3, "b", "DISCONNECT TOPIC_ALIAS_INVALID; closed", "DISCONNECT PROTOCOL_ERROR; closed"),
    ],
    "A repeated SUBSCRIBE replaces all options of a subscription [3.8.4]; Mosquitto 2.0.11 keeps the old ones.": [
        Difference("subscription_options, 5", 9, "b", "nothing", "PUBLISH 'T/x' b'own' q0"),
        Difference("subscription_options, 5", 10, "b", "PUBLISH 'T/x' b'' q0", "PUBLISH 'T/x' b'' q0 retain"),
    ],
    "No local on a shared subscription is a fault [3.8.3-4]; Mosquitto 2.0.11 takes it.": [
        Difference(
            "no_local_and_shared, 5", 1, "a", "DISCONNECT PROTOCOL_ERROR; closed", "SUBACK 1: GRANTED_QOS_EXACTLY_ONCE"
        ),
    ],
}
"""The differences, by the reason that they share."""
