"""EDF, EDF+ and BDF, read by edfio.

Formats: Kemp et al. 1992, Kemp & Olivan 2003 (https://www.edfplus.info); BDF is EDF with 24-bit samples.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.formats.single_file import MOST_SAMPLES, SingleFile, check_size
from ecg_lightning.data.formats.stated import Fault, Signals
from ecg_lightning.data.record import Layout

MAGIC = {".edf": b"0       ", ".bdf": b"\xffBIOSEMI"}


@dataclass(frozen=True)
class EDFFile(SingleFile):
    """A recording in EDF, EDF+ or BDF; signals that are no leads (respiration, SpO2, annotations) are left out."""

    format = "EDF"

    def _layout(self) -> Layout:
        edf = self._open()
        places, leads = self._leads(edf)
        rates = {edf.signals[i].sampling_frequency for i in places}
        if len(rates) > 1:
            raise Fault(f"its leads have different rates ({', '.join(f'{fs:g} Hz' for fs in sorted(rates))}); "
                        "export them at one")  # fmt: skip
        return Layout(
            self.stated.rate(rates.pop()), leads, edf.signals[places[0]].samples_per_data_record * edf.num_data_records
        )

    def _signal(self) -> NDArray[np.float32]:
        edf = self._open()
        places = self._leads(edf).places
        first = edf.signals[places[0]]
        signal = np.empty((len(places), first.samples_per_data_record * edf.num_data_records), np.float32)
        for row, i in enumerate(places):
            signal[row] = edf.signals[i].data * self.stated.millivolts(edf.signals[i].physical_dimension)
        return signal

    def _leads(self, edf: Any) -> Signals:
        chosen = self.stated.signals([signal.label for signal in edf.signals])
        for i in chosen.places:
            signal = edf.signals[i]
            # edfio takes the bare digits where the ranges give no gain.
            if signal.physical_min == signal.physical_max or signal.digital_min >= signal.digital_max:
                raise Fault(f"signal {signal.label!r} has an empty physical or digital range, so its gain is not known")
        return chosen

    def _open(self) -> Any:
        """The file by edfio, which warns of a size that contradicts the header and leaves EDF samples on the disk."""
        import edfio

        bdf = self.path.suffix.lower() == ".bdf"
        size = self.path.stat().st_size
        if size > 4 * MOST_SAMPLES:
            raise Fault(f"is larger ({size} bytes) than a recording may be; split it")
        with self.path.open("rb") as file:
            header = file.read(256)
        if not header.startswith(MAGIC[self.path.suffix.lower()]):
            raise Fault("does not begin like such a file; its suffix or its content is wrong")
        if int(header[184:192]) != 256 * (1 + int(header[252:256])):
            raise Fault("its header contradicts itself about its own length; export it again")
        # Not ASCII as the standard has it, since recorders write the micro sign.
        with warnings.catch_warnings(action="error"):
            edf = (edfio.read_bdf if bdf else edfio.read_edf)(self.path, header_encoding="latin-1")
        check_size(max(edf.num_signals, 1), edf.num_data_records)
        if "+D" in edf.reserved and not edf.is_continuous:
            raise Fault("was interrupted (EDF+D with gaps); split it at the gaps")
        return edf
