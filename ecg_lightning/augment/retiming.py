"""Transformations that move the samples of a recording along time, to be recognised: see `transformations`."""

from __future__ import annotations

import torch
from torch import Tensor

from ecg_lightning.augment.base import Augmentation, Drawn, Windows, extent, sample_at
from ecg_lightning.errors import UserError


class Stretch(Augmentation):
    """Plays the recording slower, or faster; it begins where it began.

    One that grows beyond the end of its window is cut there. One that shrinks leaves padding behind it.

    Args:
        factor: of its length; 2 stretches, 1/2 squeezes.
        p: see `Augmentation`.

    Raises:
        UserError: the factor is none.
    """

    def __init__(self, factor: float, p: float = 1.0) -> None:
        super().__init__(p)
        if not factor > 0:
            raise UserError(f"augment Stretch: factor={factor} must be above 0")
        self.factor = factor

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """Nothing."""
        return {}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        begin, length = (part[:, None] for part in extent(x_BLT, valid_BT))
        t_BT = torch.arange(x_BLT.shape[-1], device=x_BLT.device) - begin
        stretched = sample_at(x_BLT, begin + torch.minimum(t_BT / self.factor, length - 1))
        if valid_BT is None and self.factor >= 1:
            return stretched, None
        inside_BT = (t_BT >= 0) & (t_BT < (length * self.factor).floor().clamp(min=1))
        return stretched * inside_BT[:, None], inside_BT


class Permutation(Augmentation):
    """Cuts the recording into pieces of equal length, to a sample, and puts them in another order.

    Args:
        pieces: how many.
        p: see `Augmentation`.

    Raises:
        UserError: a single piece has no other order.
    """

    def __init__(self, pieces: int, p: float = 1.0) -> None:
        super().__init__(p)
        _check_pieces(self, pieces)
        self.pieces = pieces

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`order` (B, pieces): which piece stands at each place; the order as it was gives way to a rotation of it."""
        order = torch.rand(len(x_BLT), self.pieces, device=x_BLT.device).argsort(dim=1)
        as_it_was = (order == torch.arange(self.pieces, device=x_BLT.device)).all(dim=1, keepdim=True)
        return {"order": torch.where(as_it_was, order.roll(1, dims=1), order)}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        begin, length = (part[:, None] for part in extent(x_BLT, valid_BT))
        edge = length * torch.arange(self.pieces + 1, device=x_BLT.device) // self.pieces
        first, size = edge[:, :-1].gather(1, drawn["order"]), edge.diff(dim=1).gather(1, drawn["order"])
        end = size.cumsum(dim=1)
        t_BT = torch.arange(x_BLT.shape[-1], device=x_BLT.device) - begin
        t_BT = torch.minimum(t_BT.clamp(min=0), length - 1)
        place = torch.searchsorted(end, t_BT, right=True)
        source_BT = begin + t_BT + (first - end + size).gather(1, place)
        moved = x_BLT.take_along_dim(source_BT[:, None], dim=2)
        return (moved, None) if valid_BT is None else (moved * valid_BT[:, None], valid_BT)


class PiecewiseTimeWarp(Augmentation):
    """Cuts the recording into pieces of equal length, of which some run slower and the others faster than before.

    Half of the pieces, drawn at random and one more of an odd number, are stretched by the factor and the rest squeezed
    by it; all together are brought back to the recording's length.

    Args:
        pieces: how many; 9 in Sarkar and Etemad (2020).
        factor: 1.05 there.
        p: see `Augmentation`.

    Raises:
        UserError: nothing would be warped.
    """

    def __init__(self, pieces: int, factor: float, p: float = 1.0) -> None:
        super().__init__(p)
        _check_pieces(self, pieces)
        if not factor > 1:
            raise UserError(f"augment PiecewiseTimeWarp: factor={factor} must be above 1")
        self.pieces, self.factor = pieces, factor

    def draw(self, x_BLT: Tensor, valid_BT: Tensor | None = None) -> Drawn:
        """`slower` (B, pieces) bool, the pieces that are stretched."""
        rank = torch.rand(len(x_BLT), self.pieces, device=x_BLT.device).argsort(dim=1).argsort(dim=1)
        return {"slower": rank < (self.pieces + 1) // 2}

    def change(self, x_BLT: Tensor, drawn: Drawn, valid_BT: Tensor | None = None) -> Windows:
        """See `Augmentation.change`."""
        begin, length = (part[:, None] for part in extent(x_BLT, valid_BT))
        last = length - 1
        size = torch.where(drawn["slower"], self.factor, 1 / self.factor)
        size = size / size.sum(dim=1, keepdim=True)
        end = size.cumsum(dim=1)
        t_BT = torch.arange(x_BLT.shape[-1], device=x_BLT.device) - begin
        share_BT = (t_BT / last.clamp(min=1)).clamp(0, 1)
        piece = torch.searchsorted(end, share_BT).clamp(max=self.pieces - 1)
        within = 1 - (end.gather(1, piece) - share_BT) / size.gather(1, piece)
        warped = sample_at(x_BLT, begin + last * ((piece + within) / self.pieces).clamp(0, 1))
        return (warped, None) if valid_BT is None else (warped * valid_BT[:, None], valid_BT)


def _check_pieces(augmentation: Augmentation, pieces: int) -> None:
    if pieces < 2:
        raise UserError(f"augment {type(augmentation).__name__}: pieces={pieces} must be at least 2")
