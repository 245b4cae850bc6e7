"""What may come next: the contract between the token engine and whoever knows a grammar.

The engine knows no text. A :class:`Constraint` gives each answer a state of its own, a :class:`TokenMask`,
that says which tokens may come next and moves on with each token that was chosen.
"""

from typing import Protocol

from torch import Tensor


class TokenMask(Protocol):
    """What may come next in one answer."""

    @property
    def problem(self) -> str | None:
        """Why the answer cannot go on, in one line; None while it can."""
        ...

    def allowed(self) -> Tensor:
        """``[V]`` bool on the CPU, V the rows of the language model's output: tokens that may come next.

        All False where there is a :attr:`problem`.
        """
        ...

    def accept(self, token: int) -> None:
        """Move on with a token; one that is not allowed is a :attr:`problem`."""
        ...


class Constraint(Protocol):
    """A form that answers must have. It may be shared by many requests, and can be pickled."""

    def start(self) -> TokenMask:
        """The state before the first token of one answer."""
        ...
