"""What a diagnosis found."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: where, what, and what to do about it, one line each."""

    part: str
    problem: str
    remedy: str


@dataclass
class Report:
    """Facts by section, findings, and remarks that are no faults.

    Attributes:
        name: what was asked about.
        kind: ``model``, ``adapter``, ``encoder``, ``cache`` or ``language model``.
        facts: section → name → value (plain JSON values).
        findings: empty for a healthy folder.
        notes: what was not looked at, and why.
    """

    name: str
    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def find(self, part: str, problem: str, remedy: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(part, problem, remedy))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "healthy": self.healthy,
            "findings": [vars(finding) for finding in self.findings],
            "notes": self.notes,
            **self.facts,
        }
