"""A stock MQTT client on Tidings: nothing of ours is imported, all that it knows stands in the login answer.

    python docs/examples/stock_client.py http://127.0.0.1:8080 +447700900009 Dora [USER-ID-TO-WRITE-TO]

It asks for the code (`tidings sms +447700900009` shows it), writes one message if told to whom, and prints what comes.
"""

import asyncio
import json
import sys
from typing import Any

import aiomqtt  # any MQTT client will do
import httpx


def log_in(server: str, phone: str, name: str) -> dict[str, Any]:
    """Register, or log in again with another device: it is the same."""
    begun = httpx.post(f"{server}/api/auth/register", json={"phoneNumber": phone, "name": name}).raise_for_status()
    proof = {"verificationId": begun.json()["verificationId"], "code": input("code: "), "deviceName": "example"}
    login: dict[str, Any] = httpx.post(f"{server}/api/auth/verify-otp", json=proof).raise_for_status().json()
    return login


async def main(server: str, phone: str, name: str, peer: str = "") -> None:
    """Connect, subscribe, perhaps write, and listen."""
    login = log_in(server, phone, name)
    mqtt, topics = login["mqtt"], login["mqtt"]["topics"]
    print("I am", login["user"]["id"], flush=True)
    client = aiomqtt.Client(
        mqtt["host"],
        mqtt["ports"]["mqtt"],
        identifier=mqtt["clientId"],
        username=mqtt["username"],
        password=login["token"],
        clean_session=False,  # the broker keeps what comes while we are away
    )
    async with client:
        await client.subscribe([(pattern, 1) for pattern in topics["subscribe"]])
        if peer:
            await write(client, server, login, peer)
        async for message in client.messages:
            entry = json.loads(message.payload)  # type: ignore[arg-type]
            print(message.topic, entry.get("seq", ""), entry.get("body", entry), flush=True)


async def write(client: aiomqtt.Client, server: str, login: dict[str, Any], peer: str) -> None:
    """Say hello: first by HTTP, which tells the conversation's id, from then on by MQTT."""
    bearer = {"Authorization": f"Bearer {login['token']}"}
    async with httpx.AsyncClient(base_url=server, headers=bearer) as http:
        first = await http.post("/api/messages", json={"to": peer, "body": "hello"})
    conv = first.raise_for_status().json()["conv"]
    topic = login["mqtt"]["topics"]["out"].format(lane=conv[2:4], conv=conv, verb="msg")
    # Keep the id until the message comes back; sent again under the same id it is stored once.
    await client.publish(topic, json.dumps({"id": "example-1", "body": "hello again, by MQTT"}), qos=1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
