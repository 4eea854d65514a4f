"""Vision transformer on 1-D patches (Dosovitskiy et al. 2021; sizes tiny, small and base of Touvron et al. 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from ecg_lightning.encoders.base import PatchEncoder
from ecg_lightning.encoders.transformer import Transformer, initialise, sincos_positions
from ecg_lightning.errors import UserError
from ecg_lightning.signal import SignalSpec


class ViT(PatchEncoder):
    """A patch spans all leads for a fraction of a second; positions are fixed sines, so any length is accepted.

    Args:
        spec: the signal; its length must be whole patches.
        dim: `D`.
        depth: transformer blocks.
        heads: attention heads; must divide `dim`.
        patch_seconds: length of one patch in seconds.

    Raises:
        UserError: the window is not a whole number of patches, `dim` not a multiple of `heads`, or a size not positive.
    """

    def __init__(self, spec: SignalSpec, dim: int, depth: int, heads: int, patch_seconds: float) -> None:
        super().__init__(spec, dim)
        for key, value in (("dim", dim), ("depth", depth), ("heads", heads)):
            if value < 1:
                raise UserError(f"encoder.{key}={value} must be at least 1")
        if dim % heads:
            raise UserError(f"encoder.dim={dim} is no multiple of encoder.heads={heads}")
        if not patch_seconds > 0:
            raise UserError(f"encoder.patch_seconds={patch_seconds} must be above 0")
        self.patch = max(1, round(patch_seconds * spec.fs))
        self._check(spec.samples)
        self.project: nn.Module = nn.Linear(len(spec.leads) * self.patch, dim)
        self.transformer = Transformer(dim, depth, heads)
        self.apply(initialise)

    def embed(self, x_BLT: Tensor) -> Tensor:
        """See `PatchEncoder.embed`.

        Raises:
            UserError: T is not a whole number of patches.
        """
        self._check(x_BLT.shape[-1])
        patches = self.patchify(x_BLT)
        positions = sincos_positions(patches.shape[1], self.dim).to(patches)
        tokens: Tensor = self.project(patches) + positions
        return tokens

    def encode(self, t_BKD: Tensor, valid_BK: Tensor | None = None) -> Tensor:
        """See `PatchEncoder.encode`."""
        out: Tensor = self.transformer(t_BKD, valid_BK)
        return out

    def depth_order(self) -> list[nn.Module]:
        """See `Encoder.depth_order`; the embedding, the blocks, the norm."""
        return [self.project, *self.transformer.blocks, self.transformer.norm]

    def _check(self, samples: int) -> None:
        if samples % self.patch:
            raise UserError(
                f"a window of {samples} samples is no whole number of patches of {self.patch} samples; "
                "change spec.samples (data.spec.seconds) or encoder.patch_seconds"
            )
