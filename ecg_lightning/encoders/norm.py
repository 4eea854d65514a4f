"""Batch normalisation over all processes of a training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecg_lightning import processes


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose statistics are those of the whole batch, on however many processes it lies.

    torch's SyncBatchNorm does the same on GPUs alone. Keys and values of its state are those of `nn.BatchNorm1d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C) or (B, C, N), the same shape in all processes, to the same shape."""
        if not self.training or processes.count() == 1:
            return super().forward(input)
        dims = [0, 2] if input.ndim == 3 else [0]
        n = processes.count() * input.numel() // input.shape[1]
        shape = [1, -1, 1][: input.ndim]
        mean = processes.total(input.sum(dims)) / n
        centred = input - mean.view(shape)
        variance = processes.total(centred.square().sum(dims)) / n
        self._remember(mean.detach(), variance.detach() * n / (n - 1))
        scaled = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        return scaled

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Move the running statistics, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C.to(self.running_mean), share)
        self.running_var.lerp_(variance_C.to(self.running_var), share)
