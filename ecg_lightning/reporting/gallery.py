"""What each augmentation does to a real beat: `python -m ecg_lightning.reporting.gallery data=ptbxl data.root=DIR`.

Writes one HTML page that needs no other file. `conf/gallery.yaml` lists what it shows; one more augmentation is one
more entry there.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.cli import command_line, composed_command
from ecg_lightning.errors import UserError
from ecg_lightning.reporting.before_after import draw_before_after
from ecg_lightning.reporting.page import Card, write_page
from ecg_lightning.signal import TYPICAL_SPREAD_MV, SignalSpec, render, standardise, window_offsets

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor

    from ecg_lightning.augment.base import Augmentation, Windows
    from ecg_lightning.data.module import ECGDataModule

LEADS = ("II", "V1", "V5")
"""Whose beats are shown where they are among the spec's leads, else its first ones."""

BEFORE_R, AFTER_R = 0.3, 0.5  # s of a beat
UNIT_MV = {"none": 1.0, "scale": TYPICAL_SPREAD_MV, "zscore": TYPICAL_SPREAD_MV}  # of a z-score about


def show(config: DictConfig) -> None:
    """Write the page.

    Args:
        config: as `conf/gallery.yaml` composes it.

    Raises:
        UserError: there is no such recording, or an entry of `shown` is no augmentation.
    """
    import torch

    from ecg_lightning.build import build_augmentation, build_data, plain
    from ecg_lightning.data.module import ECGDataModule

    data = build_data(config.data)
    if not isinstance(data, ECGDataModule):
        raise UserError(f"data={config.data.name} is made of several data sets; show one of them")
    record, window = read_window(data, config.record)
    cards = []
    for entry in config.shown:
        torch.manual_seed(config.seed)
        settings = {key: value for key, value in plain(entry.step).items() if key not in ("_target_", "root")}
        cards.append(make_card(build_augmentation(entry.step), settings, entry.source, window, data.spec))
    path = write_page(Path(config.out), "What each augmentation does", _introduction(data, record), cards)
    print(f"{len(cards)} augmentations of recording {record} of {data.name} in {path}")


def read_window(data: ECGDataModule, record: str | int | None) -> tuple[str, Windows]:
    """The middle of a recording as an encoder reads it.

    Args:
        data: the data set.
        record: the recording's name; None for the first.

    Returns:
        Its name, and a batch of one window.

    Raises:
        UserError: there is no such recording, or it cannot be read.
    """
    import torch

    files = data.records()
    file = next((file for file in files if record is None or file.record_id == str(record)), None)
    if file is None:
        raise UserError(f"record={record} is no recording of {data.name}; one is {files[0].record_id}")
    read, spec = file.read(), data.spec
    signal_LT = render(read.signal, read.leads, read.fs, spec)
    t_T = window_offsets(signal_LT.shape[1], spec.samples, "crop")[0] + np.arange(spec.samples)
    valid_T = (t_T >= 0) & (t_T < signal_LT.shape[1])
    window_LT = np.where(valid_T, signal_LT[:, t_T.clip(0, signal_LT.shape[1] - 1)], 0).astype(np.float32)
    valid_BT = None if valid_T.all() else torch.from_numpy(valid_T)[None]
    return file.record_id, (standardise(torch.from_numpy(window_LT)[None], spec.standardise, valid_BT), valid_BT)


def make_card(
    augmentation: Augmentation, settings: dict[str, object], source: str, window: Windows, spec: SignalSpec
) -> Card:
    """What an augmentation does to a window, in words and pictures; or why it cannot be.

    Args:
        augmentation: whose first line of documentation is what the card says.
        settings: its parameters.
        source: where it is published.
        window: a batch of one.
        spec: the signal's.
    """
    words = (type(augmentation).__name__, (inspect.getdoc(type(augmentation)) or "").splitlines()[0], source, settings)
    try:
        augmentation.prepare(spec)
    except UserError as error:
        return Card(*words, pictures={}, strips={}, refusal=str(error))
    before_LT, after_LT = (_millivolts(each, spec) for each in (window, augmentation(*window)))
    leads = [lead for lead in LEADS if lead in spec.leads] or list(spec.leads[: len(LEADS)])
    rows = {lead: spec.leads.index(lead) for lead in leads}
    beat = _beat(before_LT[rows[leads[0]]], spec.fs)
    changed = max(leads, key=lambda lead: float(np.nanstd(after_LT[rows[lead]] - before_LT[rows[lead]])))

    def picture(lead: str, part: slice, **size: float) -> bytes:
        return draw_before_after(before_LT[rows[lead], part], after_LT[rows[lead], part], spec.fs, lead, **size)

    beats = {f"a beat in {lead}": picture(lead, beat, width_mm=66, height_mm=50, line_mm=0.4) for lead in leads}
    whole = picture(changed, slice(None), width_mm=200, height_mm=34, line_mm=0.25)
    return Card(*words, pictures=beats, strips={f"{spec.seconds:g} s of {changed}": whole})


def _millivolts(window: tuple[Tensor, Tensor | None], spec: SignalSpec) -> NDArray[np.floating]:
    """(L, T) of a batch of one, NaN outside the recording."""
    x_BLT, valid_BT = window
    signal_LT = UNIT_MV[spec.standardise] * x_BLT[0].numpy()
    return signal_LT if valid_BT is None else np.where(valid_BT[0].numpy(), signal_LT, np.nan)


def _beat(lead_T: NDArray[np.floating], fs: float) -> slice:
    """Around the highest or deepest peak of the middle third, where a beat of any rate above 20 a minute lies."""
    third = len(lead_T) // 3
    middle_T = lead_T[third : len(lead_T) - third]
    peak = third + int(np.nanargmax(np.abs(middle_T - np.nanmedian(middle_T))))
    return slice(max(0, peak - round(BEFORE_R * fs)), peak + round(AFTER_R * fs))


def _introduction(data: ECGDataModule, record: str) -> list[str]:
    spec = data.spec
    return [
        f"Recording {record} of {data.name} at {spec.fs:g} Hz: a beat, and {spec.seconds:g} s of the lead that "
        'changed most, <span class="before">before</span> in grey and <span class="after">after</span> in blue. Large '
        "squares are 0.2 s by 0.5 mV. In training every window draws numbers of its own; shown is one draw.",
        f'<span class="quiet">Noise levels are in what the encoder reads, of which 1 is {UNIT_MV[spec.standardise]:g} '
        "mV.</span>",
    ]


def main() -> None:
    """The command line."""
    composed_command("gallery", show)


if __name__ == "__main__":
    command_line(main)
