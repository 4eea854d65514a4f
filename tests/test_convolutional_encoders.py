"""Convolutional, recurrent and fully connected encoders against the published descriptions, written out again here."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.build import build_encoder
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.cnn import CNN
from ecg_lightning.encoders.convolution import Residual
from ecg_lightning.encoders.inception import Inception, InceptionModule
from ecg_lightning.encoders.kachuee import Kachuee
from ecg_lightning.encoders.lstm import LSTM
from ecg_lightning.encoders.mlp import MLP
from ecg_lightning.encoders.recurrent import read_from_start
from ecg_lightning.encoders.resnet_wang import ResNetWang
from ecg_lightning.encoders.whole_window import remaining_length
from ecg_lightning.encoders.xresnet import XResNet
from ecg_lightning.errors import UserError
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

CONF = Path(__file__).parents[1] / "conf" / "encoder"
BEAT = SignalSpec(fs=125, leads=("II",), samples=187)
"""A heartbeat of the Kaggle data."""


def spec_of(leads: int, samples: int) -> SignalSpec:
    return SignalSpec(fs=100, leads=TWELVE_LEADS[:leads], samples=samples)


def built(name: str, spec: SignalSpec, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return build_encoder(OmegaConf.load(CONF / f"{name}.yaml"), spec).eval()  # type: ignore[arg-type]


def unsettled(encoder: nn.Module) -> nn.Module:
    """Every weight and every running statistic away from where it begins, so that none goes unnoticed."""
    torch.manual_seed(1)
    for name, value in encoder.state_dict().items():
        if name.endswith(("bias", "running_mean")):
            nn.init.normal_(value, std=0.2)
        elif name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            nn.init.uniform_(value, 0.5, 1.5)
    return encoder.eval()


# --- how many weights -------------------------------------------------------------------------------------------


def convolution(inputs: int, outputs: int, kernel: int, norm: bool = True) -> int:
    """With a batch normalisation's scale and shift, or with a bias."""
    return inputs * outputs * kernel + outputs * (2 if norm else 1)


def linear(*widths: int) -> int:
    return sum((before + 1) * after for before, after in pairwise(widths))


def inception_time(leads: int, kernels: tuple[int, int, int], narrow_first: bool) -> int:
    """InceptionTime (Ismail Fawaz et al. 2020, table and figure 1-2): six modules of four times 32 channels."""
    modules = 0
    for inputs, narrow in ((leads, narrow_first), *[(128, True)] * 5):
        modules += 32 * inputs * narrow + sum(kernels) * 32 * (32 if narrow else inputs) + 32 * inputs + 2 * 128
    return modules + convolution(leads, 128, 1) + convolution(128, 128, 1)


def test_the_table_of_inception_time_is_the_published_one() -> None:
    """LITE has 9,814 weights, 2.34 % of InceptionTime's for one channel (Ismail-Fawaz et al. 2023), which has kernels
    of 40, 20 and 10 and narrows no single channel."""
    assert round(100 * 9_814 / inception_time(1, (40, 20, 10), narrow_first=False), 2) == 2.34


def xresnet(leads: int, blocks: int) -> int:
    stem = convolution(leads, 32, 5) + convolution(32, 32, 5) + convolution(32, 64, 5)
    path = convolution(64, 64, 5) + convolution(64, 256, 1)
    first = convolution(64, 64, 1) + path + convolution(64, 256, 1)  # alone with weights in its shortcut
    return stem + first + (blocks - 1) * (convolution(256, 64, 1) + path)


def wang(leads: int) -> int:
    blocks = 3 * (convolution(128, 128, 5) + convolution(128, 128, 3)) + 2 * convolution(128, 128, 1)
    return convolution(leads, 128, 7) + blocks


def kachuee(leads: int, flattened: int) -> int:
    return convolution(leads, 32, 5, norm=False) + 10 * convolution(32, 32, 5, norm=False) + linear(flattened, 32, 32)


def acharya(leads: int, flattened: int) -> int:
    convolutions = ((leads, 5, 3), (5, 10, 4), (10, 20, 4))
    return sum(convolution(*each, norm=False) for each in convolutions) + linear(flattened, 30, 20)


def lstm(leads: int, step: int) -> int:
    """Keras' four gates of 64 units; torch gives each a second bias, which adds nothing."""
    return 4 * ((leads * step + 64 + 1) * 64) + 4 * 64 + linear(64, 64)


@pytest.mark.parametrize(
    ("name", "spec", "expected"),
    [
        ("xresnet1d50", spec_of(12, 250), xresnet(12, 3 + 4 + 6 + 3)),
        ("xresnet1d101", spec_of(12, 250), xresnet(12, 3 + 4 + 23 + 3)),
        ("resnet1d_wang", spec_of(12, 250), wang(12)),
        ("inception1d", spec_of(12, 250), inception_time(12, (39, 19, 9), narrow_first=True)),
        ("cnn_kachuee", BEAT, kachuee(1, 2 * 32)),  # 187 - 183 - 90 - 43 - 20 - 8 - 2 samples
        ("cnn_kachuee", spec_of(12, 1000), kachuee(12, 28 * 32)),  # 1000 - 996 - 496 - 246 - 121 - 59 - 28
        ("cnn", SignalSpec(fs=360, leads=("II",), samples=260), acharya(1, 30 * 20)),  # of the paper: 260 at the start
        ("cnn", BEAT, acharya(1, 20 * 20)),  # 187 - 185 - 92 - 89 - 44 - 41 - 20
        ("mlp", BEAT, linear(187, *[128] * 6)),
        ("lstm", BEAT, lstm(1, 5)),
        ("lstm", spec_of(12, 1000), lstm(12, 4)),
    ],
)
def test_an_encoder_has_the_weights_of_its_table(name: str, spec: SignalSpec, expected: int) -> None:
    assert sum(p.numel() for p in built(name, spec).parameters()) == expected


# --- the same again, in torch's functions alone -----------------------------------------------------------------


class Weights:
    """Those of a network, in the order they are asked for."""

    def __init__(self, network: nn.Module) -> None:
        self.values = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
        self.keys = iter(self.values)

    def __call__(self, count: int) -> list[Tensor]:
        return [self.values[next(self.keys)] for _ in range(count)]

    def normed(self, x: Tensor, stride: int = 1) -> Tensor:
        """A convolution with zeros around and the normalisation behind it."""
        (kernel,) = self(1)
        x = F.conv1d(x, kernel, stride=stride, padding=(kernel.shape[-1] - 1) // 2)
        return self.norm(x)

    def norm(self, x: Tensor) -> Tensor:
        scale, shift, mean, variance = (value[:, None] for value in self(4))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def done(self) -> bool:
        return next(self.keys, None) is None


def naive_xresnet(weights: Weights, x: Tensor, blocks: tuple[int, ...]) -> Tensor:
    x = weights.normed(x, stride=2).relu()
    x = weights.normed(x).relu()
    x = weights.normed(x).relu()
    x = F.max_pool1d(F.pad(x, (1, 1), value=-torch.inf), 3, 2)
    for number, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if block == 0 and number > 0 else 1
            path = weights.normed(x).relu()
            path = weights.normed(path, stride).relu()
            path = weights.normed(path)
            if stride == 2:  # means of pairs; a sample left over is its own
                x = torch.stack([pair.mean(dim=-1) for pair in x.split(2, dim=-1)], dim=-1)
            x = weights.normed(x) if x.shape[1] != 256 else x
            x = (path + x).relu()
    return x


def naive_wang(weights: Weights, x: Tensor) -> Tensor:
    x = weights.normed(x).relu()
    for stride in (1, 2, 2):
        path = weights.normed(x, stride).relu()
        path = weights.normed(path)
        x = (path + (weights.normed(x, stride) if stride == 2 else x)).relu()
    return x


def naive_inception(weights: Weights, x: Tensor) -> Tensor:
    for _ in range(2):
        before = x
        for _ in range(3):
            narrow, long, middle, short, beside = weights(5)
            bottled = F.conv1d(x, narrow)
            parts = [F.conv1d(bottled, kernel, padding="same") for kernel in (long, middle, short)]
            neighbours = F.pad(x, (1, 1), value=-torch.inf).unfold(-1, 3, 1).amax(dim=-1)
            x = weights.norm(torch.cat([*parts, F.conv1d(neighbours, beside)], dim=1)).relu()
        x = (x + weights.normed(before)).relu()
    return x


def naive_kachuee(weights: Weights, x: Tensor) -> Tensor:
    x = F.conv1d(x, *weights(2))
    for _ in range(5):
        path = F.conv1d(x, *weights(2), padding=2).relu()
        path = F.conv1d(path, *weights(2), padding=2)
        x = (path + x).relu().unfold(-1, 5, 2).amax(dim=-1)
    x = F.linear(x.flatten(1), *weights(2)).relu()
    return F.linear(x, *weights(2)).relu()[..., None]


def naive_cnn(weights: Weights, x: Tensor) -> Tensor:
    for _ in range(3):
        x = F.leaky_relu(F.conv1d(x, *weights(2))).unfold(-1, 2, 2).amax(dim=-1)
    x = F.leaky_relu(F.linear(x.flatten(1), *weights(2)))
    return F.leaky_relu(F.linear(x, *weights(2)))[..., None]


def naive_mlp(weights: Weights, x: Tensor) -> Tensor:
    x = x.flatten(1)
    for _ in range(6):
        x = F.linear(x, *weights(2)).relu()
    return x[..., None]


def naive_lstm(weights: Weights, x: Tensor) -> Tensor:
    into, again, bias, second_bias, connect, shift = weights(6)
    hidden = cell = x.new_zeros(len(x), 64)
    outputs = []
    for step in F.pad(x, (0, -x.shape[-1] % 4)).split(4, dim=-1):
        gates = F.linear(step.flatten(1), into, bias) + F.linear(hidden, again, second_bias)
        enter, forget, new, leave = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        outputs.append(F.linear(hidden, connect, shift).relu())
    return torch.stack(outputs, dim=-1)


NAIVE = {
    "xresnet1d50": lambda weights, x: naive_xresnet(weights, x, (3, 4, 6, 3)),
    "xresnet1d101": lambda weights, x: naive_xresnet(weights, x, (3, 4, 23, 3)),
    "resnet1d_wang": naive_wang,
    "inception1d": naive_inception,
    "cnn_kachuee": naive_kachuee,
    "cnn": naive_cnn,
    "mlp": naive_mlp,
    "lstm": naive_lstm,
}


@torch.no_grad()
@pytest.mark.parametrize("samples", [200, 187])
@pytest.mark.parametrize("name", NAIVE)
def test_an_encoder_computes_its_description(name: str, samples: int) -> None:
    encoder, x = unsettled(built(name, spec_of(3, samples))).double(), torch.randn(2, 3, samples, dtype=torch.float64)
    assert isinstance(encoder, Encoder)
    weights = Weights(encoder)
    expected = NAIVE[name](weights, x)
    assert weights.done(), "a weight that the description does not have"
    torch.testing.assert_close(encoder.tokens(x), expected.transpose(1, 2), rtol=1e-9, atol=1e-9)
    pooled = expected[..., -1] if name == "lstm" else expected.mean(dim=-1)
    torch.testing.assert_close(encoder(x), pooled, rtol=1e-9, atol=1e-9)


# --- residual networks ------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("mode", [True, False])
def test_every_bottleneck_starts_as_its_shortcut(mode: bool) -> None:
    encoder = XResNet(spec_of(2, 300), blocks=(3, 4, 6, 3)).train(mode)
    blocks = [module for module in encoder.modules() if isinstance(module, Residual)]
    x = encoder.stem(torch.randn(4, 2, 300))
    assert len(blocks) == 16
    for number, block in enumerate(blocks):
        out = block(x)
        if number not in (0, 3, 7, 13):
            assert torch.equal(out, x), "the input is a ReLU's output already"
        elif number:
            torch.testing.assert_close(out, F.avg_pool1d(x, 2, ceil_mode=True))
        x = out


@torch.no_grad()
@settings(deadline=None, max_examples=25)
@given(st.sampled_from([("xresnet1d50", 32), ("resnet1d_wang", 4), ("inception1d", 1)]), st.integers(1, 300))
def test_there_is_a_token_for_every_stride_begun(network: tuple[str, int], samples: int) -> None:
    name, stride = network
    tokens = built(name, spec_of(1, 100)).tokens(torch.randn(1, 1, samples))
    assert tokens.shape[1] == -(-samples // stride)


@pytest.mark.parametrize(
    ("encoder", "reach"),
    [
        # kernels of 7 | 5, 3 | 5, 3 | 5, 3 samples that lie 1 | 1, 1 | 1, 2 | 2, 4 apart
        (ResNetWang(spec_of(1, 800)), 3 + 2 + 1 + 2 + 2 + 4 + 4),
        (Inception(spec_of(1, 800)), 6 * 19),
    ],
)
def test_a_token_sees_as_far_as_its_kernels_reach(encoder: Encoder, reach: int) -> None:
    unsettled(encoder)
    x = torch.randn(1, 1, 800, requires_grad=True)
    tokens = encoder.tokens(x)
    n = tokens.shape[1] // 2
    tokens[0, n].square().sum().backward()
    assert x.grad is not None
    seen = x.grad[0, 0].nonzero().flatten()
    centre = n * (800 // tokens.shape[1])
    assert (centre - seen[0].item(), seen[-1].item() - centre) == (reach, reach)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "stride"), [("xresnet1d50", 32), ("resnet1d_wang", 4), ("inception1d", 1), ("lstm", 4)]
)
def test_a_shifted_signal_has_shifted_tokens(name: str, stride: int) -> None:
    """Far from the edges of the window; an LSTM remembers those, but less and less."""
    encoder = unsettled(built(name, spec_of(2, 3200)))
    assert isinstance(encoder, Encoder)
    x = torch.randn(1, 2, 3200)
    tokens, shifted = encoder.tokens(x), encoder.tokens(x.roll(stride, dims=-1))
    middle = slice(tokens.shape[1] // 2 - 2, tokens.shape[1] // 2 + 2)
    torch.testing.assert_close(shifted[:, 1:][:, middle], tokens[:, :-1][:, middle], rtol=1e-3, atol=1e-4)
    assert (shifted[:, middle] - tokens[:, middle]).abs().amax() > 1e-2


def test_an_inception_module_has_four_kinds_of_channels() -> None:
    """The paths of 39, 19, 9 and 3 samples, each in 32 channels of its own."""
    module = unsettled(InceptionModule(2))
    for part, reach in enumerate((19, 9, 4, 1)):
        x = torch.randn(1, 2, 101, requires_grad=True)
        inner = [convolution(module.bottleneck(x)) for convolution in module.convolutions]  # type: ignore[union-attr,operator]
        paths = [*inner, module.pooled(x)]  # type: ignore[operator]
        paths[part][0, :, 50].square().sum().backward()
        assert x.grad is not None
        seen = x.grad.abs().sum(dim=(0, 1)).nonzero().flatten()
        assert 50 - seen[0] <= reach and seen[-1] - 50 <= reach
        assert part == 3 or seen[-1] - seen[0] == 2 * reach


# --- encoders of one length -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), min_size=1, max_size=6), st.integers(1, 150))
def test_what_remains_of_a_window_is_what_torch_leaves(layers: list[tuple[int, int]], samples: int) -> None:
    x: Tensor | None = torch.zeros(1, 1, samples)
    for kernel, stride in layers:
        x = None if x is None or x.shape[-1] < kernel else F.max_pool1d(x, kernel, stride)
    if x is not None:
        assert remaining_length(samples, layers) == x.shape[-1]
        return
    with pytest.raises(UserError, match="too short") as caught:
        remaining_length(samples, layers)
    shortest = int(str(caught.value).split("at least ")[1].split()[0])
    assert remaining_length(shortest, layers) == 1, "the message names the shortest window that is enough"


@pytest.mark.parametrize(("kind", "shortest"), [("cnn", 28), ("cnn_kachuee", 129)])
def test_a_window_too_short_to_be_pooled_is_refused(kind: str, shortest: int) -> None:
    assert built(kind, spec_of(1, shortest))(torch.randn(2, 1, shortest)).isfinite().all()
    with pytest.raises(UserError, match=rf"{shortest - 1} samples is too short .* at least {shortest} .*spec\.samples"):
        built(kind, spec_of(1, shortest - 1))


@pytest.mark.parametrize("name", ["mlp", "cnn", "cnn_kachuee"])
def test_an_encoder_of_one_length_says_so(name: str) -> None:
    encoder = built(name, BEAT)
    assert [encoder.fit_length(samples) for samples in (1, 187, 1000)] == [187] * 3
    assert encoder.tokens(torch.randn(2, 1, 187)).shape == (2, 1, encoder.dim)
    with pytest.raises(UserError, match=r"a window of 250 samples: \w+ takes 187 alone.*data\.spec\.seconds"):
        encoder(torch.randn(2, 1, 250))


def test_dropout_is_between_the_layers_of_an_mlp_and_only_in_training() -> None:
    torch.manual_seed(0)
    encoder, x = MLP(BEAT, dim=400, depth=2, dropout=0.5), torch.randn(64, 1, 187)
    first, bias, second, second_bias = encoder.parameters()
    inner = F.linear(x.flatten(1), first, bias).relu()
    torch.testing.assert_close(encoder.eval()(x), F.linear(inner, second, second_bias).relu())
    torch.manual_seed(0)
    kept = F.dropout(inner, 0.5)
    torch.manual_seed(0)
    torch.testing.assert_close(encoder.train()(x), F.linear(kept, second, second_bias).relu())


def test_sizes_that_make_no_sense_are_refused() -> None:
    for key, wrong in (
        ("dim=0", lambda: MLP(BEAT, 0, 6, 0.2)),
        ("depth=0", lambda: MLP(BEAT, 8, 0, 0.2)),
        ("dropout=1", lambda: MLP(BEAT, 8, 6, 1)),
        (r"channels=\[5, 0, 20\]", lambda: CNN(BEAT, (5, 0, 20), (30, 20))),
        (r"hidden=\[30, 0\]", lambda: CNN(BEAT, (5, 10, 20), (30, 0))),
        ("blocks=", lambda: XResNet(BEAT, (3, 4, 0, 3))),
        ("dim=0", lambda: LSTM(BEAT, 0, 0.04)),
        ("step_seconds=0", lambda: LSTM(BEAT, 64, 0)),
    ):
        with pytest.raises(UserError, match=rf"encoder\.{key}"):
            wrong()


def test_the_residual_blocks_for_heartbeats_begin_with_the_spread_they_are_given() -> None:
    """They have no normalisation that would set it right; He's weights would bring forth tenfold."""
    torch.manual_seed(0)
    assert 0.1 < Kachuee(BEAT)(torch.randn(64, 1, 187)).square().mean().sqrt() < 5


# --- the LSTM and padding ---------------------------------------------------------------------------------------


@torch.no_grad()
@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_a_recurrent_network_reads_a_recording_in_its_window_as_it_does_alone(B: int, N: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    bounds = np.sort(generator.integers(0, N + 1, size=(B, 2)), axis=1)
    bounds[:, 1] = np.minimum(np.maximum(bounds[:, 1], bounds[:, 0] + 1), N)
    bounds[:, 0] = np.minimum(bounds[:, 0], N - 1)
    place = np.arange(N)
    valid = torch.from_numpy((place >= bounds[:, :1]) & (place < bounds[:, 1:]))
    recurrent, z = torch.nn.LSTM(2, 3, batch_first=True), torch.from_numpy(generator.normal(size=(B, N, 2))).float()
    states = read_from_start(recurrent, z, valid)
    for b, (begin, end) in enumerate(bounds):
        torch.testing.assert_close(states[b, begin:end], recurrent(z[b, begin:end])[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(read_from_start(recurrent, z, None), recurrent(z)[0])


@torch.no_grad()
@settings(deadline=None, max_examples=30)
@given(st.data())
def test_an_lstm_reads_a_recording_the_same_wherever_it_lies_in_the_window(data: st.DataObject) -> None:
    encoder = built("lstm", spec_of(2, 100))
    steps = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    before = [data.draw(st.integers(0, 25 - count)) for count in steps]
    x = 50 * torch.randn(len(steps), 2, 100)
    valid = torch.zeros(len(steps), 100, dtype=torch.bool)
    for b, (count, first) in enumerate(zip(steps, before, strict=True)):
        valid[b, 4 * first : 4 * (first + count)] = True
    tokens, features = encoder.tokens(x, valid), encoder(x, valid)
    for b, (count, first) in enumerate(zip(steps, before, strict=True)):
        alone = encoder.tokens(x[b : b + 1, :, 4 * first : 4 * (first + count)])[0]
        torch.testing.assert_close(tokens[b, first : first + count], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(features[b], alone[-1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_fresh_lstm_remembers_the_beginning_of_a_beat() -> None:
    """Forget gates begin open: what enters at the first of 40 steps is still there at the last."""
    encoder, x = built("lstm", BEAT), torch.randn(16, 1, 187)
    changed = x.clone()
    changed[..., :5] += 3
    forgetful = deepcopy(encoder)
    assert isinstance(forgetful, LSTM)
    nn.init.zeros_(dict(forgetful.recurrent.named_parameters())["bias_ih_l0"])
    kept, left = ((each(changed) - each(x)).abs().mean() for each in (encoder, forgetful))
    assert kept > 30 * left


@pytest.mark.parametrize(
    ("seconds", "samples", "step"), [(0.04, 187, 5), (0.008, 187, 1), (0.001, 3, 1), (1, 100, 125)]
)
def test_a_step_reads_whole_samples_and_the_last_is_filled_with_zeros(seconds: float, samples: int, step: int) -> None:
    encoder = LSTM(BEAT, 8, seconds)
    x = torch.randn(2, 1, samples)
    assert encoder.stride == encoder.local_dim == step
    local = encoder.local(x)
    assert local.shape == (2, -(-samples // step), step)
    assert torch.equal(local.flatten(1)[:, :samples], x[:, 0]) and not local.flatten(1)[:, samples:].any()
