"""Images of a signal against scipy, PyWavelets and sums written out, and the encoders that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_convolutional_encoders import BEAT, built, unsettled
from torch import Tensor
from torch.nn import functional as F

from ecg_lightning.encoders.base import Encoder, token_validity
from ecg_lightning.encoders.spectral import STFTNet, WaveletNet
from ecg_lightning.encoders.time_frequency import FLOOR, STFT, Morlet, TimeFrequency
from ecg_lightning.errors import UserError
from ecg_lightning.signal import TWELVE_LEADS, SignalSpec

ENCODERS = ("stft_cnn", "wavelet_cnn")
SPECS = {
    "100 Hz": SignalSpec(100, ("II", "V1"), 1000),
    "beat": BEAT,
    "360 Hz": SignalSpec(360, ("II", "V1", "V5"), 1301),
    "500 Hz": SignalSpec(500, ("II",), 1250),
    "50 Hz": SignalSpec(50, ("II",), 300),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
every_encoder = pytest.mark.parametrize("name", ENCODERS)


def front(name: str, spec: SignalSpec) -> TimeFrequency:
    return STFT(spec, 0.5) if name == "stft_cnn" else Morlet(spec, 32)


def noise(spec: SignalSpec) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(2, len(spec.leads), spec.samples)).astype(np.float32))


def centres(transform: TimeFrequency, samples: int) -> NDArray[np.int64]:
    """The sample that each frame is about."""
    return np.arange(0, samples, transform.hop) + transform.hop // 2


# --- images -----------------------------------------------------------------------------------------------------


@every_spec
def test_short_time_spectra_are_those_of_scipy(spec: SignalSpec) -> None:
    from scipy.signal import stft

    transform, x = front("stft_cnn", spec), noise(spec)
    frame, N = 2 * round(0.25 * spec.fs), len(centres(transform, spec.samples))
    before = frame // 2 - transform.hop // 2
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (before, frame)))[..., : (N - 1) * transform.hop + frame]
    hz, _, spectrum = stft(padded, spec.fs, "hann", frame, frame - transform.hop, boundary=None, padded=False)
    kept = (hz <= 40) & (hz < spec.fs / 2)
    amplitude = np.abs(spectrum[:, :, kept]) * np.where(hz[kept] > 0, 2, 1)[:, None]
    np.testing.assert_allclose(transform.hz, hz[kept], rtol=1e-6)
    np.testing.assert_allclose(transform.magnitude(x), amplitude, atol=1e-5)
    np.testing.assert_allclose(transform(x), np.log1p(amplitude / FLOOR), atol=1e-3)


def wavelets(transform: TimeFrequency, x: NDArray[np.floating], fs: float) -> NDArray[np.floating]:
    """At each frame and row, the sum of the signal under a Gaussian that turns with the row's frequency."""
    at = centres(transform, x.shape[-1])
    seconds = (np.arange(x.shape[-1]) - at[:, None]) / fs
    rows = []
    for hz in transform.hz.double().numpy():
        spread = np.sqrt(0.75) / hz
        gaussian = np.exp(-np.square(seconds / spread) / 2) / (np.sqrt(2 * np.pi) * spread * fs)
        rows.append(2 * np.abs(x @ (gaussian * np.exp(2j * np.pi * hz * seconds)).T))
    return np.stack(rows, axis=-2)


@every_spec
def test_a_wavelet_transform_is_the_sum_under_every_wavelet(spec: SignalSpec) -> None:
    transform, x = front("wavelet_cnn", spec), noise(spec)
    expected = wavelets(transform, x.double().numpy(), spec.fs)
    np.testing.assert_allclose(transform.magnitude(x), expected, atol=1e-5)
    ratio = (transform.hz[1:] / transform.hz[:-1]).numpy()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert transform.hz[0].item() == pytest.approx(max(0.5, 2 * spec.fs / spec.samples))
    assert transform.hz[-1].item() == pytest.approx(min(40, spec.fs / 2))


@pytest.mark.realdata
@pytest.mark.parametrize("record", ["00001", "00008"])
def test_a_recordings_wavelet_transform_is_that_of_pywavelets(record: str, data_root: Path) -> None:
    """Which sums where this one is a product in frequency, takes wavelets of unit energy, and samples them in steps."""
    import pywt
    import wfdb

    x = wfdb.rdrecord(str(data_root / "ptbxl" / "records500" / "00000" / f"{record}_hr")).p_signal.T[:3]
    x = x - x.mean(axis=1, keepdims=True)
    transform = Morlet(SignalSpec(500, ("I", "II", "III"), 5000), rows=24)
    scales = 500 / transform.hz.double().numpy()
    coefficients, _ = pywt.cwt(x, scales, "cmor1.5-1.0", method="fft", precision=17)
    theirs = 2 * np.abs(coefficients).swapaxes(0, 1) / np.sqrt(scales)[:, None]
    ours = transform.magnitude(torch.from_numpy(x[None]).float())[0].numpy()
    difference = np.abs(ours - theirs[..., centres(transform, 5000)])
    strongest = theirs.max(axis=-1, keepdims=True)
    assert (difference / strongest).max() < 0.05
    assert np.median(difference / strongest) < 0.001


@every_encoder
@every_spec
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_sine_lights_up_its_row_with_its_amplitude(name: str, spec: SignalSpec, data: st.DataObject) -> None:
    transform = front(name, spec)
    row = data.draw(st.integers(2, int((transform.hz < spec.fs / 3).sum()) - 2))
    hz, phase = transform.hz[row].item(), data.draw(st.floats(0, 6.28))
    long = 2 * spec.samples + round(8 * spec.fs / hz)
    x = 3 * torch.sin(2 * torch.pi * hz * torch.arange(long) / spec.fs + phase).expand(1, len(spec.leads), -1)
    inner = transform.magnitude(x)[..., long // transform.hop // 2]
    np.testing.assert_allclose(inner[:, :, row], 3, rtol=0.01)
    assert (inner.argmax(dim=2) == row).all()


@every_encoder
@every_spec
@settings(max_examples=10, deadline=None)
@given(st.data())
def test_a_spike_lights_up_its_frame(name: str, spec: SignalSpec, data: st.DataObject) -> None:
    transform = front(name, spec)
    at = data.draw(st.integers(0, spec.samples - 1))
    x = torch.zeros(1, len(spec.leads), spec.samples)
    x[..., at] = 1
    image = transform(x)
    assert image.shape[-1] == -(-spec.samples // transform.hop)
    energy = transform.magnitude(x)[0, 0, -1]  # high frequencies know best when
    brightest = energy.argmax().item()
    assert abs(brightest - at // transform.hop) <= 0.5 or energy[at // transform.hop] > 0.999 * energy[brightest]


@every_encoder
def test_an_image_does_not_depend_on_the_rate(name: str) -> None:
    """Waves below 30 Hz that fade in and out, seen at 100 and at 500 Hz: the same rows, the same frames."""
    images = []
    for fs in (100, 500):
        seconds = np.arange(10 * fs) / fs
        x = np.sin(2 * np.pi * 3 * seconds) + np.sin(2 * np.pi * (8 + seconds) * seconds)
        faded = torch.from_numpy(np.hanning(len(x)) * x).float()[None, None]
        images.append(front(name, SignalSpec(fs, ("II",), len(x))).magnitude(faded))
    assert (images[0] - images[1]).abs().max() < 0.02 < images[0].max()


@every_encoder
def test_silence_is_black_and_has_a_gradient(name: str) -> None:
    spec = SPECS["100 Hz"]
    x = torch.zeros(1, 2, 400, requires_grad=True)
    image = front(name, spec)(x)
    image.sum().backward()
    assert not image.any() and x.grad is not None and x.grad.isfinite().all()


# --- encoders ---------------------------------------------------------------------------------------------------


def weights_of_a_resnet(leads: int, rows: int) -> int:
    """Widths of 32, 64 and 128, two blocks each; every convolution has a normalisation's scale and shift."""
    stem, column = leads * 32 * 25 + 2 * 32, 128 * 128 * -(-rows // 8) + 2 * 128
    blocks = sum(9 * before * after + 9 * after * after + 4 * after
                 for before, after in ((32, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128)))  # fmt: skip
    shortcuts = 32 * 64 + 2 * 64 + 64 * 128 + 2 * 128
    return stem + blocks + shortcuts + column


@every_encoder
def test_an_encoder_has_the_weights_of_its_table(name: str) -> None:
    rows = {"stft_cnn": 21, "wavelet_cnn": 32}[name]
    encoder = built(name, SignalSpec(100, TWELVE_LEADS, 1000))
    assert sum(weight.numel() for weight in encoder.parameters()) == weights_of_a_resnet(12, rows)


@torch.no_grad()
@every_encoder
@every_spec
def test_an_encoder_computes_its_description(name: str, spec: SignalSpec) -> None:
    encoder, x = unsettled(built(name, spec)), noise(spec)
    assert isinstance(encoder, STFTNet | WaveletNet)
    values = iter([value for key, value in encoder.state_dict().items() if "num_batches" not in key])

    def normed(image: Tensor, stride: tuple[int, int] | int = 1, padding: int = 0) -> Tensor:
        image = F.conv2d(image, next(values), stride=stride, padding=padding)
        scale, shift, mean, variance = (next(values)[:, None, None] for _ in range(4))
        return (image - mean) / (variance + 1e-5).sqrt() * scale + shift

    image = normed(front(name, spec)(x), (2, 1), 2).relu()
    for stride, changes in ((1, False), (1, False), (2, True), (1, False), (2, True), (1, False)):
        path = normed(normed(image, stride, 1).relu(), 1, 1)
        image = (path + (normed(image, stride) if changes else image)).relu()
    tokens = normed(image).relu()
    assert tokens.shape[2] == 1 and next(values, None) is None
    torch.testing.assert_close(encoder.tokens(x), tokens[:, :, 0].transpose(1, 2), rtol=1e-4, atol=1e-4)
    assert tokens.shape[3] == -(-spec.samples // (4 * encoder.hop)), "a token for every share of 0.16 s begun"


@torch.no_grad()
@every_encoder
@settings(max_examples=8, deadline=None)
@given(samples=st.integers(1, 300), before=st.integers(0, 5), after=st.integers(0, 5), rubbish=st.sampled_from([0, 50]))
def test_a_recording_says_the_same_however_much_padding_it_has(
    name: str, samples: int, before: int, after: int, rubbish: float
) -> None:
    encoder = unsettled(built(name, SignalSpec(100, ("II", "V1"), 300)))
    assert isinstance(encoder, Encoder)
    torch.manual_seed(samples)
    token, x = 16, torch.randn(2, 2, samples)
    alone = encoder.tokens(x)
    begin, held = before * token, alone.shape[1]
    padded = torch.full((2, 2, (before + held + after) * token), float(rubbish))
    padded[..., begin : begin + samples] = x
    place = torch.arange(padded.shape[-1])
    valid = ((place >= begin) & (place < begin + samples)).expand(2, -1)
    tokens = encoder.tokens(padded, valid)
    torch.testing.assert_close(tokens[:, before : before + held], alone, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(encoder(padded, valid), encoder(x), rtol=1e-3, atol=1e-3)
    validity = token_validity(valid, tokens.shape[1])
    assert validity is not None and not tokens[~validity].any()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: STFTNet(BEAT, 128, 1.6), r"187 samples is too short for frames of 200; .*encoder\.frame_seconds=1\.6"),
        (lambda: STFTNet(BEAT, 128, 0.05), r"encoder\.frame_seconds=0\.05 must be 0\.08 or more"),
        (lambda: STFTNet(BEAT, 10, 0.5), r"encoder\.dim=10 must be a multiple of 4"),
        (lambda: WaveletNet(BEAT, 0, 32), r"encoder\.dim=0"),
        (lambda: WaveletNet(BEAT, 128, 1), r"encoder\.rows=1 must be at least 2"),
        (lambda: WaveletNet(SignalSpec(125, ("II",), 12), 128, 32), r"12 samples at 125 Hz is too short for wavelets"),
    ],
)
def test_sizes_and_windows_that_make_no_sense_are_refused(wrong, says) -> None:
    with pytest.raises(UserError, match=says):
        wrong()
