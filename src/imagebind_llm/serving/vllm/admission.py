"""Which requests with conditions may enter: the table of deltas has places for so many different ones."""

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from imagebind_llm.serving.vllm.carried import RefusedError

Item = TypeVar("Item")


class Admission(Generic[Item]):
    """First come, first served among those with conditions; those without never wait.

    Args:
        places: different conditions of all requests that have entered.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: deque[tuple[int, frozenset[str], Item]] = deque()
        self._entered: dict[int, frozenset[str]] = {}
        self._users: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """Requests that have not entered."""
        return len(self._waiting)

    @property
    def in_use(self) -> int:
        """Different conditions of the requests that have entered."""
        return len(self._users)

    def offer(self, number: int, keys: Sequence[str], item: Item) -> list[Item]:
        """A new request; returns those that may enter now.

        Args:
            number: its name.
            keys: the names of its conditions, by content.
            item: what is given back when it may enter.

        Raises:
            RefusedError: it alone has more conditions than there are places.
        """
        wanted = frozenset(keys)
        if not wanted:
            return [item]
        if len(wanted) > self._places:
            raise RefusedError(
                f"the dialog has {len(wanted)} different media, the engine has places for {self._places}; "
                "start it with more (max_conditions)"
            )
        self._waiting.append((number, wanted, item))
        return self._enter()

    def release(self, number: int) -> list[Item]:
        """A request has ended; returns those that may enter now."""
        for key in self._entered.pop(number, ()):
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
        return self._enter()

    def drop(self, number: int) -> bool:
        """Remove a request that waits, if it is one."""
        left = [one for one in self._waiting if one[0] != number]
        found = len(left) < len(self._waiting)
        if found:
            self._waiting = deque(left)
        return found

    def _enter(self) -> list[Item]:
        found: list[Item] = []
        while self._waiting:
            number, wanted, item = self._waiting[0]
            if len(self._users.keys() | wanted) > self._places:
                break
            self._waiting.popleft()
            self._entered[number] = wanted
            for key in wanted:
                self._users[key] = self._users.get(key, 0) + 1
            found.append(item)
        return found
