"""Which part of a signal drove a class: integrated gradients from a flat line to the signal."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecg_lightning.data.windows import Batch, Draw, RawBatch, to_signal
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.evaluation.cell import Fitted, Part
from ecg_lightning.evaluation.classifier import Classifier
from ecg_lightning.evaluation.features import EncoderFeatures, weights_on_read_out
from ecg_lightning.evaluation.finetune import FineTuned
from ecg_lightning.evaluation.frozen import FrozenFit
from ecg_lightning.evaluation.linear import Linear
from ecg_lightning.readout import read_out

STEPS = 64
"""Points on the way from the flat line to the signal (Gauss-Legendre)."""

AT_ONCE = 16  # of them go through the encoder together


class SignalPath(NamedTuple):
    """The differentiable way from one example's signal to what is predicted.

    Attributes:
        batch: the example alone.
        logits: from (B, L, T) signals in its place, with its span and valid samples, to (B, C).
    """

    batch: Batch
    logits: Callable[[Batch], Tensor]


class Attribution(NamedTuple):
    """What each sample of one window adds to the log-odds of a class.

    Attributes:
        number: which of the examples it is.
        signal: (L, T) mV, NaN outside the recording.
        share: (L, T); they add up to `log_odds - flat`.
        log_odds: of the class.
        flat: what the log-odds would be if every lead were flat.
        span: first and one-past-last sample that the label is about; None for the whole window.
    """

    number: int
    signal: NDArray[np.float32]
    share: NDArray[np.float64]
    log_odds: float
    flat: float
    span: tuple[int, int] | None


def attribute(fitted: Fitted, part: Part, index: NDArray[np.int64], target: int) -> Attribution | None:
    """Attribute a class to the samples of a window (Sundararajan et al. 2017).

    Args:
        fitted: what was learned; a linear probe on an encoder, or a fine-tuned encoder.
        part: the examples.
        index: (K,) examples that are windows of one recording: the one that speaks most for the class is taken.
        target: number of the class.

    Returns:
        None where no gradient leads from the classes to the signal.
    """
    paths = [path for number in index.tolist() if (path := signal_path(fitted, part, number)) is not None]
    if not paths:
        return None
    multi_label = part.data.multi_label
    scores = [partial(log_odds, path, target=target, multi_label=multi_label) for path in paths]
    with torch.no_grad():
        chosen = int(np.argmax([float(score(path.batch.x)) for path, score in zip(paths, scores, strict=True)]))
        batch, score = paths[chosen].batch, scores[chosen]
        ends = (float(score(batch.x)), float(score(torch.zeros_like(batch.x))))
    share = integrated_gradients(score, batch.x)[0].double().cpu().numpy()
    span = None if batch.span is None else (int(batch.span[0, 0]), int(batch.span[0, 1]))
    return Attribution(int(index[chosen]), _millivolts(part, index[chosen]), share, *ends, span)


def integrated_gradients(score: Callable[[Tensor], Tensor], x_BLT: Tensor) -> Tensor:
    """Share of every sample in what sets the score of a signal apart from that of a flat line.

    Args:
        score: from (B, L, T) to (B,).
        x_BLT: standardised signals, whose zero is flat.

    Returns:
        (B, L, T); they add up to `score(x) - score(0)` but for the error of the integral.
    """
    from captum.attr import IntegratedGradients

    # cuDNN's recurrent layers have no gradient in evaluation.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        share: Tensor = IntegratedGradients(score, multiply_by_inputs=True).attribute(
            x_BLT, n_steps=STEPS, method="gausslegendre", internal_batch_size=AT_ONCE
        )
    return share.detach()


def signal_path(fitted: Fitted, part: Part, number: int) -> SignalPath | None:
    """The differentiable way to the logits that `fitted` predicts from, None where there is none.

    What a probe reads beside the encoder's features of the example itself (the recording's median beat, RR intervals)
    stays as it is.

    Args:
        fitted: see `attribute`.
        part: the examples.
        number: of the example.
    """
    encoder = encoder_of(fitted)
    if encoder is None:
        return None
    batch, encoder = _window(part, number), encoder.to(_device()).eval()
    if isinstance(fitted, FineTuned):
        return SignalPath(batch, fitted.model.to(_device()).eval())
    if not (isinstance(fitted, FrozenFit) and isinstance(fitted.classifier, Linear)):
        return None
    probe = fitted.classifier
    weight_FC = weights_on_read_out(fitted.space.unstandardised(probe.weight), encoder.dim, part.examples)
    weight = torch.from_numpy(weight_FC).to(batch.x)
    logits_C = fitted.space.of(part)[number] @ probe.weight + probe.bias
    with torch.no_grad():
        rest = torch.from_numpy(logits_C).to(batch.x) - read_out(encoder, batch) @ weight
    return SignalPath(batch, lambda batch: read_out(encoder, batch) @ weight + rest)


def encoder_of(fitted: Fitted) -> Encoder | None:
    """The encoder that reads the signals, None where none does."""
    if isinstance(fitted, FineTuned) and isinstance(fitted.model, Classifier):
        return fitted.model.encoder
    if isinstance(fitted, FrozenFit) and isinstance(fitted.space.source, EncoderFeatures):
        return fitted.space.source.encoder
    return None


def log_odds(path: SignalPath, x_BLT: Tensor, target: int, multi_label: bool) -> Tensor:
    """The class against the rest, (B,), of other signals in the place of the window's own.

    Args:
        path: of the window.
        x_BLT: (B, L, T).
        target: number of the class.
        multi_label: whether the classes do not exclude one another.
    """
    own = path.batch
    span, valid = (None if each is None else each.expand(len(x_BLT), -1) for each in (own.span, own.valid))
    logits_BC = path.logits(Batch(x_BLT, own.which.expand(len(x_BLT)), span=span, valid=valid))
    if multi_label:
        return logits_BC[:, target]
    others = torch.arange(logits_BC.shape[1], device=logits_BC.device) != target
    return logits_BC[:, target] - logits_BC[:, others].logsumexp(dim=1)


def _window(part: Part, number: int) -> Batch:
    """A batch of one example, standardised."""
    return to_signal(_raw(part, number).to(_device()), part.data.spec, part.condition)


def _millivolts(part: Part, number: int) -> NDArray[np.float32]:
    """(L, T), NaN outside the recording."""
    raw = _raw(part, number)
    signal_LT = (raw.steps[0].T / raw.scale).float()
    return (signal_LT if raw.valid is None else signal_LT.where(raw.valid[0], torch.nan)).cpu().numpy()


def _raw(part: Part, number: int) -> RawBatch:
    return part.data.windows(part.examples)[Draw(np.array([number]), np.zeros(1))]


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
