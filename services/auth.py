"""`/api/auth`: register, prove, refresh, log out; and the public keys."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from services import codes
from services.bearer import Authenticated
from services.bodies import Body
from services.deps import Deps, Given
from services.login import Login, Session
from tidings.protocol import ids, limits, topics
from tidings.protocol.errors import Code, Refusal
from tidings.protocol.ids import DeviceId

routes = APIRouter(tags=["auth"])

Word = Annotated[str, Field(min_length=1, max_length=128)]


class Register(Body):
    """A phone number, with + and country code, and the name others will see."""

    phone_number: str = Field(max_length=40, examples=["+4915112345678"])
    name: str = Field(max_length=4 * limits.NAME_CHARS, examples=["Alice"])


class Registered(Body):
    """A code is on its way; `expiresIn` in seconds."""

    verification_id: str
    otp_sent: bool = True
    expires_in: int = codes.LIFETIME_MS // 1000


class Prove(Body):
    """The code from the SMS. `deviceName` is shown among the user's devices."""

    verification_id: Word
    code: Annotated[str, Field(max_length=16, examples=["123456"])]
    device_name: Annotated[str, Field(max_length=1024)] = ""


class Refresh(Body):
    """The refresh token of the last login answer; it can be used once."""

    refresh_token: Word


class Self(Body):
    """The user who logged in."""

    id: str
    name: str
    phone_number: str


class Ports(Body):
    """The broker's ports; 0 where it does not listen."""

    mqtt: int
    websocket: int
    tls: int


class Topics(Body):
    """Everything a client needs to say where: filters to subscribe (QoS 1), and forms of topics to publish."""

    subscribe: list[str]
    out: str
    to: str
    do: str
    state: str


class Mqtt(Body):
    """How to connect: the password is the access token."""

    host: str
    ports: Ports
    path: str
    client_id: str
    username: str
    topics: Topics


class LoggedIn(Body):
    """A login; `expiresIn` in seconds. Refresh before it ends."""

    token: str
    refresh_token: str
    expires_in: int
    user: Self
    mqtt: Mqtt


class OwnDevice(Body):
    """One of the user's devices; times in ms UTC, `revokedAt` 0 while in use."""

    id: str
    name: str
    created_at: int
    revoked_at: int
    current: bool


class Devices(Body):
    """The user's devices."""

    devices: list[OwnDevice]


def login_of(request: Request) -> Login:
    """Find the application's `Login`."""
    login: Login = request.app.state.login
    return login


@routes.post("/api/auth/register")
async def register(body: Register, request: Request) -> Registered:
    """Send a code by SMS. The answer is the same whether or not the number has an account."""
    host = request.client.host if request.client else ""
    return Registered(verification_id=await login_of(request).register(body.phone_number, body.name, host))


@routes.post("/api/auth/verify-otp")
async def verify_otp(body: Prove, request: Request, deps: Given) -> LoggedIn:
    """Prove the number; makes the account at the first time, and a new device at every time."""
    return _logged_in(await login_of(request).verify(body.verification_id, body.code, body.device_name), deps)


@routes.post("/api/auth/refresh")
async def refresh(body: Refresh, request: Request, deps: Given) -> LoggedIn:
    """Exchange the refresh token. A second use of the same one ends the login."""
    return _logged_in(await login_of(request).refresh(body.refresh_token), deps)


@routes.post("/api/auth/logout", status_code=204)
async def logout(caller: Authenticated, request: Request) -> Response:
    """Log this device out: its tokens are void, its MQTT connection ends, its queue is deleted."""
    await login_of(request).logout(caller.user, caller.device)
    return Response(status_code=204)


@routes.get("/api/devices")
async def devices(caller: Authenticated, deps: Given) -> Devices:
    """List the caller's devices."""
    return Devices(
        devices=[
            OwnDevice(
                id=device.id,
                name=device.name,
                created_at=device.created_at,
                revoked_at=device.revoked_at,
                current=device.id == caller.device,
            )
            for device in await deps.users.devices(caller.user)
        ]
    )


@routes.delete("/api/devices/{device}", status_code=204)
async def end_device(device: str, caller: Authenticated, request: Request) -> Response:
    """Log another of the caller's devices out, as a lost phone."""
    if not await login_of(request).logout(caller.user, ids.device_id(device)):
        raise Refusal(Code.NOT_FOUND, "no such device of yours is logged in")
    return Response(status_code=204)


@routes.get("/.well-known/jwks.json")
async def jwks(deps: Given) -> dict[str, list[dict[str, str]]]:
    """The keys that verify our tokens (RFC 7517)."""
    return deps.keys().jwks()


def _logged_in(session: Session, deps: Deps) -> LoggedIn:
    return LoggedIn(
        token=session.token,
        refresh_token=session.refresh_token,
        expires_in=deps.token_ms // 1000,
        user=Self(id=session.user.id, name=session.user.name, phone_number=session.user.phone),
        mqtt=_mqtt(session, deps),
    )


def _mqtt(session: Session, deps: Deps) -> Mqtt:
    door = deps.mqtt
    return Mqtt(
        host=door.host,
        ports=Ports(mqtt=door.mqtt, websocket=door.websocket, tls=door.tls),
        path=door.path,
        client_id=ids.client_id(session.user.id, session.device),
        username=session.user.id,
        topics=_topics(session, session.device),
    )


def _topics(session: Session, device: DeviceId) -> Topics:
    """Spell the topics out; what depends on the conversation or the peer stays in braces."""
    own = {"user": session.user.id, "device": device, "own": ids.lane_of(session.user.id)}
    return Topics(
        subscribe=list(topics.device_subscriptions(session.user.id, device)),
        out="u/{user}/{device}/out/{{lane}}/{{conv}}/{{verb}}".format_map(own),
        to="u/{user}/{device}/to/{{lane}}/{{peer}}".format_map(own),
        do="u/{user}/{device}/do/{own}/{{verb}}".format_map(own),
        state="u/{user}/{device}/state/{own}".format_map(own),
    )
