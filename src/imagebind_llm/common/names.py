"""Names that are not known: refused, with the one that was perhaps meant."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from imagebind_llm.common.errors import UserError, one_line

_LONGEST = 60


def refuse_unknown(
    given: Iterable[object], known: Sequence[str], more: Sequence[str] = (), what: str = "request setting"
) -> None:
    """Refuse a name that is not known.

    Args:
        given: names.
        known: those that may be given.
        more: others that the user may have meant, for the message.
        what: they name.

    Raises:
        UserError: one of ``given`` is unknown; with the most similar name, if one is similar.
    """
    for name in given:
        if name not in known:
            expected = [str(other) for other in (*more, *known)]
            shown = one_line(name, _LONGEST)
            similar = get_close_matches(shown, expected, n=1)
            meant = f"; did you mean {similar[0]!r}?" if similar else ";"
            raise UserError(f"unknown {what} {shown!r}{meant} use one of {', '.join(expected)}")
