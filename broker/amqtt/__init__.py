"""amqtt as a broker of Tidings: selectable, with our rules in front. docs/brokers.md lists what it fails."""
