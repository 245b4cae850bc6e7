"""Where a server may listen, and by which names it is called there."""

from ipaddress import ip_address

from imagebind_llm.common.errors import UserError, short
from imagebind_llm.serving.keys import VARIABLE

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach ``host``. Another name than localhost may be anything."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_binding(host: str, keys: object, insecure: bool) -> None:
    """See to it that nobody opens a server to others by mistake.

    Args:
        keys: a :class:`~imagebind_llm.serving.keys.KeyRing`; true if keys are asked for.
        insecure: the operator said so.

    Raises:
        UserError: others reach ``host``, and no key is asked for.
    """
    if not (is_loopback(host) or keys or insecure):
        raise UserError(
            f"other machines can reach {short(host or 'all addresses')}, and no API key is set; set "
            f"{VARIABLE}, give a file of keys, or bind 127.0.0.1 (--insecure opens it to everybody)"
        )


def own_names(host: str, keys: object) -> tuple[str, ...] | None:
    """The names to which a server on loopback answers if it asks for no keys; None: to any."""
    if keys or not is_loopback(host):
        return None
    bound = host.strip("[]")
    return (*_LOOPBACK, f"[{bound}]" if ":" in bound else bound)
