"""Rotation through the vectorcardiogram: another position of the heart in the chest, or of the electrodes on it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows
from ecg_lightning.errors import UserError
from ecg_lightning.leads import select_leads
from ecg_lightning.signal import SignalSpec

DOWER = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}
"""The eight independent leads as sums of the vectorcardiogram's X (left), Y (down) and Z (back): Dower et al. 1980."""


class VCGRotation(Augmentation):
    """Brings the leads to a vectorcardiogram, turns and stretches it, and reads the leads off it again.

    As in 3KG (Gopal et al. 2021): the inverse of Dower's transform (Edenbrandt and Pahlm 1988, its pseudo-inverse), a
    turn about X, Y and Z in this order, a stretch along each of them, Dower's transform; the other frontal leads follow
    from I and II by Einthoven's and Goldberger's equations. Three dimensions cannot hold all of eight leads: without
    turn and stretch a recording comes back as its projection, the part of it that one dipole explains.

    Args:
        angle: highest angle about each axis, either way, in degrees; 45 in 3KG.
        scale: highest stretch along each axis, the lowest being 1; 1.5 in 3KG.
        p: see `Augmentation`.

    Raises:
        UserError: the angle lies outside 0 to 180 degrees, or the stretch is below 1.
    """

    to_vcg: Tensor
    from_vcg: Tensor

    def __init__(self, angle: float = 45.0, scale: float = 1.5, p: float = 1.0) -> None:
        super().__init__(p)
        if not 0 <= angle <= 180 or scale < 1:
            raise UserError(f"augment VCGRotation: angle={angle} must lie between 0 and 180 degrees, and scale={scale} "
                            "be at least 1")  # fmt: skip
        self.angle, self.scale = angle, scale

    def prepare(self, spec: SignalSpec) -> None:
        """See `Augmentation.prepare`.

        Raises:
            UserError: an independent lead is not among the spec's, or each lead has a scale of its own.
        """
        super().prepare(spec)
        lacking = [lead for lead in DOWER if lead not in spec.leads]
        if lacking:
            raise UserError(
                f"augment VCGRotation: data.spec.leads lacks {', '.join(lacking)}; a vectorcardiogram takes all of "
                f"{', '.join(DOWER)}: name them, or take a view without VCGRotation"
            )
        if spec.standardise == "zscore":
            raise UserError("augment VCGRotation: data.spec.standardise=zscore gives each lead a scale of its own, and "
                            "no vectorcardiogram fits such leads; set data.spec.standardise=scale")  # fmt: skip
        dower = np.array(list(DOWER.values()))
        to_vcg = np.zeros((3, len(spec.leads)))
        to_vcg[:, [spec.leads.index(lead) for lead in DOWER]] = np.linalg.pinv(dower)
        from_vcg = select_leads(dower, list(DOWER), spec.leads, "derive")
        self.register_buffer("to_vcg", torch.from_numpy(to_vcg).float(), persistent=False)
        self.register_buffer("from_vcg", torch.from_numpy(from_vcg).float(), persistent=False)

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`angle` (B, 3) about X, Y, Z in radians, and `stretch` (B, 3) along them."""
        angle, stretch = torch.rand(2, len(x_BLT), 3, device=x_BLT.device)
        return {"angle": math.radians(self.angle) * (2 * angle - 1), "stretch": 1 + (self.scale - 1) * stretch}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        turned_B33 = drawn["stretch"][..., None] * rotation(drawn["angle"])
        mixture_BLL = self.from_vcg.to(x_BLT) @ turned_B33 @ self.to_vcg.to(x_BLT)
        return mixture_BLL @ x_BLT, valid_BT


def rotation(angle_B3: Tensor) -> Tensor:
    """(B, 3, 3) matrices that turn a vector about X, then Y, then Z, by (B, 3) angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = angle_B3.cos().unbind(1), angle_B3.sin().unbind(1)
    rows = (
        cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx,
        sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx,
        -sy, cy * sx, cy * cx,
    )  # fmt: skip
    return torch.stack(rows, dim=1).view(-1, 3, 3)
