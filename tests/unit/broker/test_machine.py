"""Clients that come, go and crash with the broker, against a simple model: what was answered arrives, in order.

Rules of the model
- A publish that was answered to its sender arrives at every kept session that had subscribed when it was sent.
- The first arrivals of one sender's messages are in the order in which it sent them.
- What was acknowledged by the receiver, durably, does not come again.
"""

from collections import defaultdict

import mqtt5
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from broker.port import Limits
from tests.unit.broker.house import House
from tidings.protocol.link import Outbound

RECEIVERS = ("r4", "r5")
SENDERS = ("s4", "s5")


class Broker(RuleBasedStateMachine):
    """Two receivers with kept sessions, two senders, a bridge that relays, and a disk that may be slow."""

    @initialize()
    def begin(self):
        self.house = House(Limits(inflight=4, publish_rate=1e6, publish_burst=10**6))
        self.clients = {}
        self.count = 0
        self.sent = {}
        self.owed = defaultdict(list)
        self.seen = defaultdict(list)
        self.answered = set()
        self.link = self.house.link("bridge-0", "in/#")
        for name in RECEIVERS:
            self.come(name)
            self.clients[name].subscribe("out/#")

    def come(self, name):
        """Connect a client with its kept session, and let the sender send again what was not answered."""
        client = self.clients[name] = self.house.client(name, level=int(name[1]), keep_alive=0)
        if name in SENDERS:
            for packet_id, topic in [one for (who, *one) in self.unanswered() if who == name]:
                self.put(client, packet_id, topic, again=True)

    def unanswered(self):
        return [(who, n, topic) for n, (who, topic) in self.sent.items() if n not in self.answered]

    def put(self, client, n, topic, *, again=False):
        client.publish(topic, b"%d" % n, packet_id=n, duplicate=again)
        self.hear()

    def hear(self):
        """Note what everybody has heard."""
        for name, client in self.clients.items():
            if name in SENDERS:
                self.answered.update(client.acks())

    def is_here(self, name):
        return name in self.clients and self.clients[name].is_open

    @rule(name=st.sampled_from(SENDERS), topic=st.sampled_from(["out/a", "in/a"]))
    def publish(self, name, topic):
        if not self.is_here(name):
            self.come(name)
        if len([one for one in self.unanswered() if one[0] == name]) >= 4:
            return
        self.count += 1
        self.sent[self.count] = name, topic
        self.put(self.clients[name], self.count, topic)

    @rule(name=st.sampled_from(RECEIVERS), ack=st.booleans())
    def receive(self, name, ack):
        if not self.is_here(name):
            self.come(name)
        client = self.clients[name]
        for message in client.take(mqtt5.PublishPacket):
            self.seen[name].append(int(message.payload))
            if ack:
                client.send(mqtt5.PubAckPacket(message.packet_id))

    @rule()
    def relay(self):
        """Let the bridge publish what it got to the receivers, and acknowledge."""
        if not self.link.is_open:
            self.link = self.house.link("bridge-0", "in/#")
        got, self.link.got = self.link.got, []
        waiting = len(self.link.answered)
        self.link.publish(*(Outbound("out/relayed", one.payload) for one in got))
        if self.house.slow:
            self.house.flush()
        if len(self.link.answered) == waiting:
            self.house.flush()
        assert len(self.link.answered) == waiting + 1
        self.link.ack_these(got)
        self.hear()

    @rule(name=st.sampled_from(RECEIVERS + SENDERS))
    def cut(self, name):
        if self.is_here(name):
            self.clients.pop(name).cut()

    @rule(slow=st.booleans())
    def set_disk(self, slow):
        self.house.slow = slow
        self.house.settle()
        self.hear()

    @rule()
    def flush(self):
        self.house.flush()
        self.hear()

    @precondition(lambda self: self.house.links)
    @rule()
    def cut_link(self):
        self.link = self.house.link("bridge-0", "in/#")

    @rule()
    def crash(self):
        self.hear()
        self.house.crash()
        self.clients = {}

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds):
        self.house.pass_time(seconds * 1_000)
        self.hear()

    def teardown(self):
        """Let everything run dry, then compare."""
        self.house.slow = False
        self.house.settle()
        for _ in range(4):
            for name in SENDERS:
                if not self.is_here(name):
                    self.come(name)
            self.relay()
            self.house.flush()
            self.hear()
        assert self.unanswered() == []
        for name in RECEIVERS:
            self.cut(name)
            self.come(name)
            while got := self.clients[name].take(mqtt5.PublishPacket):
                for message in got:
                    self.seen[name].append(int(message.payload))
                    self.clients[name].send(mqtt5.PubAckPacket(message.packet_id))
            assert set(self.seen[name]) == set(self.sent), name
            self.check_order(name)
        self.house.crash()
        for name in RECEIVERS:
            self.come(name)
            assert self.clients[name].take(mqtt5.PublishPacket) == []

    def check_order(self, name):
        firsts = list(dict.fromkeys(self.seen[name]))
        for sender in SENDERS:
            for topic in ("out/a", "in/a"):
                mine = [n for n in firsts if self.sent[n] == (sender, topic)]
                assert mine == sorted(mine), (name, sender, topic)


Broker.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBroker = Broker.TestCase
