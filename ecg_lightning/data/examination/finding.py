"""What is told of a data set: how grave it is, what, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""What stops a run or falsifies its result; what to look at before one; what is good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: one of `SEVERITIES`.
        what: in a few words, with its count.
        remedy: what to do about it, one sentence.
        where: recordings or classes that it is about, with what is to say of each.
    """

    severity: Severity
    what: str
    remedy: str
    where: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"severity": self.severity, "what": self.what, "remedy": self.remedy, "where": dict(self.where)}


def by_severity(findings: list[Finding]) -> list[Finding]:
    """The gravest first, then what concerns most."""
    return sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), -len(each.where)))


def share(what: str, where: Sized, recordings: Sized) -> str:
    """`flat leads, in 3 of 500 recordings`."""
    number, total = len(where), len(recordings)
    return f"{what}, in " + (
        f"all {total:,} recordings" if number == total > 1 else f"{number:,} of {total:,} recordings"
    )


def counted(number: int, noun: str) -> str:
    """`1 recording`, `2 recordings`, `2 classes`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"
