"""Our own processes as a broker knows them, without a token."""

from acl.decisions import Principal
from tidings.protocol.ids import DeviceId, Group, UserId


def bridge_principal(group: Group) -> Principal:
    """Name the bridge of a lane group."""
    return _internal("bridge", group, "bridge", f"bridge-{group}")


def service_principal(process: str) -> Principal:
    """Name a service process."""
    return _internal("api", process, "service", f"api-{process}")


def _internal(user: str, device: str, role: str, name: str) -> Principal:
    return Principal(
        user=UserId(user),
        device=DeviceId(device),
        role=role,
        client_id=name,
        username=name,
        issued_at=0,
        expires_at=2**62,
        custodian=True,
    )
