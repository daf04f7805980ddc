"""The protocol as an AsyncAPI 3.0 document: `python -m tidings.protocol.asyncapi > docs/asyncapi.yaml`.

Rules: everything in it is read off the tables (topic forms, structs, events, errors); only which payload travels on
which topic is said here. It is printed as JSON, which is YAML.
"""

import json
from typing import Any, Final

import msgspec

from tidings.protocol import commands, errors, events, limits, payloads, topics

VERSION: Final = "1"

# Which payload, by form and last word. A class is a struct in JSON or MessagePack; None is plain UTF-8 text.
DEVICE_SAYS: Final[dict[type[topics.Topic], dict[str, type[payloads.Wire] | None]]] = {
    topics.Out: {"msg": payloads.SendMessage, "receipt": payloads.SendReceipt, "typing": payloads.SendTyping},
    topics.Doormat: {"": None},
    topics.DoormatPlain: {"": None},
    topics.Do: {"heads": payloads.DoHeads, "sync": payloads.DoSync, "watch": payloads.DoWatch},
    topics.Presence: {"": payloads.DeviceState},
}
DEVICE_HEARS: Final[dict[type[topics.Topic], dict[str, tuple[type[payloads.Wire], ...]]]] = {
    topics.UserIn: {
        "msg": (payloads.Message,),
        "event": (payloads.Message,),
        "receipt": (payloads.Receipt,),
        "typing": (payloads.Typing,),
        "presence": (payloads.PresenceNotice,),
    },
    topics.DeviceIn: {
        "msg": (payloads.Message,),
        "event": (payloads.Message,),
        "error": (payloads.ErrorNotice,),
        "reply": (payloads.HeadsReply, payloads.SyncReply, payloads.WatchReply),
    },
}
INTERNAL: Final[dict[type[topics.Topic], type[payloads.Wire]]] = {
    topics.LaneDo: payloads.Command,
    topics.ApiReply: payloads.CommandReply,
}
_QOS_0: Final = ("typing", "presence")
_VARIABLE: Final = {topics.Out: "{verb}", topics.Do: "{verb}", topics.UserIn: "{kind}", topics.DeviceIn: "{kind}"}


def structs() -> tuple[type[payloads.Wire], ...]:
    """List every payload struct that travels on a topic, and the arguments of commands, each once."""
    said = (form for row in DEVICE_SAYS.values() for form in row.values() if form is not None)
    heard = (form for row in DEVICE_HEARS.values() for each in row.values() for form in each)
    return tuple(dict.fromkeys((*said, *heard, *INTERNAL.values(), *commands.COMMANDS.values())))


def document() -> str:
    """Render the document; ends with a line feed."""
    return json.dumps(_document(), indent=2, ensure_ascii=False) + "\n"


def _document() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(structs(), ref_template="#/components/schemas/{name}")
    channels, operations = _channels()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tidings",
            "version": VERSION,
            "description": "A device publishes under its own `u/{user}/{device}/` and subscribes `u/{user}/in/#` and "
            "`u/{user}/{device}/in/#`, QoS 1, persistent session. Client id `{user}:{device}`, username `{user}`, "
            "password the access token. Its own message coming back on `u/{user}/in/msg` is the acknowledgement.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": dict(sorted(schemas.items()))},
        "x-errors": {
            str(code): {"status": kind.status, "retryable": kind.retryable, "advice": kind.advice}
            for code, kind in errors.KINDS.items()
        },
        "x-events": {
            name: {"numbered": kind.numbered, "data": list(kind.data), "meaning": kind.meaning}
            for name, kind in events.KINDS.items()
        },
        "x-limits": {name: limit._asdict() for name, limit in limits.TABLE.items()},
        "x-commands": {verb: {"$ref": f"#/components/schemas/{form.__name__}"} for verb, form in _verbs()},
    }


def _verbs() -> list[tuple[str, type[payloads.Wire]]]:
    return list(commands.COMMANDS.items())


def _channels() -> tuple[dict[str, Any], dict[str, Any]]:
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for form, said in DEVICE_SAYS.items():
        for word, struct in said.items():
            _add(channels, operations, form, word, (struct.__name__ if struct else "Text",), "send")
    for form, heard in DEVICE_HEARS.items():
        for word, structs_ in heard.items():
            _add(channels, operations, form, word, tuple(struct.__name__ for struct in structs_), "receive")
    for form, struct in INTERNAL.items():
        _add(channels, operations, form, "", (struct.__name__,), "")
    return channels, operations


def _add(
    channels: dict[str, Any],
    operations: dict[str, Any],
    form: type[topics.Topic],
    word: str,
    messages: tuple[str, ...],
    action: str,
) -> None:
    name = f"{form.__name__}-{word}" if word else form.__name__
    address = topics.FORMS[form].replace(_VARIABLE[form], word) if word else topics.FORMS[form]
    fields = [level[1:-1] for level in address.split("/") if level.startswith("{")]
    channels[name] = {
        "address": address,
        "description": " ".join((form.__doc__ or "").split()),
        "parameters": {each: {"description": f"`{topics.PATTERNS.get(each, topics.PLAIN)}`"} for each in fields},
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in messages},
    }
    if action:
        operations[f"{action}-{name}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "bindings": {"mqtt": {"qos": 0 if word in _QOS_0 else 1, "retain": False}},
        }


def _messages() -> dict[str, Any]:
    found: dict[str, Any] = {
        "Text": {"contentType": "text/plain; charset=utf-8", "payload": {"type": "string"}, "summary": "UTF-8 text"}
    }
    for struct in structs():
        if struct not in commands.COMMANDS.values() or struct is payloads.SendMessage:
            found[struct.__name__] = {
                "summary": " ".join((struct.__doc__ or "").split()),
                "payload": {"$ref": f"#/components/schemas/{struct.__name__}"},
            }
    return found


def limits_table() -> str:
    """Render docs/limits.md; ends with a line feed."""
    rows = [f"| {name} | {limit.value:,} {limit.unit} | {limit.above} |" for name, limit in limits.TABLE.items()]
    return "\n".join(["# Limits", "", "| of | at most | above |", "| --- | --- | --- |", *rows, ""])


if __name__ == "__main__":
    print(document(), end="")
