"""What is known of a package before it is downloaded."""

from dataclasses import dataclass
from typing import Literal

Registry = Literal["debian", "npm", "pypi"]


@dataclass(frozen=True)
class Package:
    """One file of a registry.

    Attributes:
        registry: which one.
        name: of the package there.
        version: as the registry writes it.
        path: below the registry's address (Debian's ``pool/…``; npm's ``NAME/-/FILE``; PyPI: the file).
        size: in bytes.
        sha256: 64 hex digits.
    """

    registry: Registry
    name: str
    version: str
    path: str
    size: int
    sha256: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.rpartition("/")[2]
