"""Fewer leads than the encoder knows, as a smaller recorder gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ecg_lightning.augment.base import Windows
from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.condition import CLEAN, Condition
from ecg_lightning.evaluation.robustness.base import SignalStress
from ecg_lightning.leads import TWELVE_LEADS, lead_mixtures
from ecg_lightning.signal import SignalSpec

SETS = {
    12: TWELVE_LEADS,
    6: ("I", "II", "III", "aVR", "aVL", "aVF"),
    4: ("I", "II", "III", "V2"),
    3: ("I", "II", "V2"),
    2: ("I", "II"),
    1: ("I",),
}
"""The sets of the PhysioNet/CinC Challenge 2021, and lead I, which watches record."""


class LostLeads(SignalStress):
    """Leads are lost, and what stands in for them is what the encoder's spec says (`missing`).

    Of each set those leads are kept that the encoder reads, and a level is their number: an encoder of II and V1 has 2
    and 1. Of two sets that leave it as many the larger one counts.

    Attributes:
        levels: sizes of the sets, out of `SETS`.
    """

    axis = "leads recorded"

    def conditions(self, spec: SignalSpec) -> Mapping[float, Condition]:
        """See `SignalStress.conditions`."""
        unknown = set(self.levels) - SETS.keys()
        if unknown:
            raise UserError(f"robustness.levels={list(self.levels)} must be out of {', '.join(map(str, SETS))} leads")
        kept: dict[int, tuple[str, ...]] = {}
        for size in sorted(self.levels, reverse=True):
            leads = tuple(lead for lead in SETS[int(size)] if lead in spec.leads)
            kept.setdefault(len(leads), leads)
        kept.pop(0, None)
        if not min(kept, default=len(spec.leads)) < len(spec.leads):
            raise UserError(f"robustness={self.name}: of the leads {', '.join(spec.leads)}, which the encoder reads, "
                            "none would be lost; choose another stress")  # fmt: skip
        return {size: CLEAN if size == len(spec.leads) else _recording(kept[size], spec)
                for size in sorted(kept, reverse=True)}  # fmt: skip


def _recording(kept: Sequence[str], spec: SignalSpec) -> Condition:
    return Condition(f"{'+'.join(kept)} alone, the others by {spec.missing}", Remixed(kept, spec))


class Remixed(nn.Module):
    """Every lead as a weighted sum of those that are kept.

    Args:
        kept: names of leads, some of the spec's.
        spec: of the signals.
    """

    weight: Tensor

    def __init__(self, kept: Sequence[str], spec: SignalSpec) -> None:
        super().__init__()
        mixtures = lead_mixtures(kept, spec.leads, spec.missing)
        rows = [[mixtures[lead].get(source, 0.0) for source in spec.leads] for lead in spec.leads]
        self.register_buffer("weight", torch.tensor(rows), persistent=False)

    def forward(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Windows:
        """(B, L, T) to the same, and which samples lie inside."""
        return torch.einsum("ml,blt->bmt", self.weight, x_BLT), valid_BT
