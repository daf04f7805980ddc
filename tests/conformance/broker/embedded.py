"""Making the embedded broker, on its SQLite store."""

from broker.embedded.durable import SqliteStore
from broker.embedded.server import EmbeddedBroker


def make_embedded(folder, gate, clock, *, mqtt, websocket, limits):
    folder.mkdir(parents=True, exist_ok=True)
    store = SqliteStore(folder / "broker.db")
    return EmbeddedBroker(gate, store, clock, mqtt=mqtt, websocket=websocket, limits=limits)
