"""What an encoder was trained on, over all its trainings: what `encoder.pt` says to the guard against seen patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from ecg_lightning.data.identity import ANYONE


def stated(populations: Sequence[str] | None) -> dict[str, Any]:
    """What is known of a training elsewhere, in the form of `UnlabelledData.seen`.

    Args:
        populations: whose recordings it saw, as a person says: all of their people count as seen. None where nobody
            knows: anybody may have been; of an empty list, nobody was of whom data are here.
    """
    patients = [f"{population}/elsewhere:all" for population in ([ANYONE] if populations is None else populations)]
    name = "recordings that nobody has named" if populations is None else "+".join(populations) or "other recordings"
    return {"name": name, "fingerprint": "unknown", "patients": patients, "folds": [], "digests": [], "skipped": {},
            "substituted_leads": {}}  # fmt: skip


def united(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What was seen in two trainings, one after the other; what is not about people is the later one's.

    Args:
        before: what the encoder had seen when it began, from its `encoder.pt`.
        now: what it saw then, see `UnlabelledData.seen`.
    """
    fingerprints = (before["fingerprint"], now["fingerprint"])
    same = before["name"] == now["name"]
    labels = before.get("labels", 0) + now.get("labels", 0)
    return {
        **now,
        "name": now["name"] if same else f"{before['name']}, then {now['name']}",
        "fingerprint": blake2b(repr(fingerprints).encode(), digest_size=8).hexdigest(),
        "patients": sorted({*before["patients"], *now["patients"]}),
        "folds": sorted({*before.get("folds", ()), *now["folds"]}) if same else [*_named(before), *_named(now)],
        "digests": sorted({*before.get("digests", ()), *now["digests"]}),
        **({"labels": labels} if labels else {}),
    }


def _named(seen: Mapping[str, Any]) -> list[str]:
    """Folds with the data set that they are of, as a mix names them."""
    return [fold if isinstance(fold, str) else f"{seen['name']}:{fold}" for fold in seen.get("folds", ())]
