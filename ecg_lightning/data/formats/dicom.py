"""DICOM waveforms: 12-lead, general and ambulatory ECG, read by pydicom.

Format: DICOM PS3.3 A.34 and C.10.9, lead codes PS3.16 CID 3001.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecg_lightning.data.formats.single_file import MOST_SAMPLES, SingleFile, check_size, scaled
from ecg_lightning.data.formats.stated import Fault, lead_of
from ecg_lightning.data.record import Layout

LITTLE_ENDIAN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Transfer syntaxes: implicit and explicit. Others are deflated, which hides the size, or retired."""

LEAD_CODES = {1: "I", 2: "II", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF", **{2 + n: f"V{n}" for n in range(1, 7)},
              31: "I", 32: "II", 111: "III", 112: "aVR", 113: "aVL", 114: "aVF"}  # fmt: skip
"""Leads of ISO/IEEE 11073-10102, whose numbers end MDC (`2:61`) and SCP-ECG (`5.6.3-9-61`) codes. The last six are the
limb leads calculated from two others, which is exact; calculated chest leads are estimates and left out."""

_CODE = re.compile(r"(?:2:|5\.6\.3-9-)(?P<number>\d+)")
SAMPLES = {"SS": "<i2", "US": "<u2", "SB": "i1", "UB": "u1", "SL": "<i4", "UL": "<u4"}


class Channel(NamedTuple):
    """One lead of a multiplex group: mV are `digits * scale + baseline`."""

    place: int
    lead: str
    scale: float
    baseline: float


@dataclass(frozen=True)
class DICOMFile(SingleFile):
    """A recording in a DICOM file: its original group with the most leads, so not the median beat beside it."""

    format = "DICOM"

    def _layout(self) -> Layout:
        group = self._group()
        _digits(group)  # Checks their number against the header's; nothing is converted.
        leads = tuple(channel.lead for channel in self._channels(group))
        return Layout(self.stated.rate(float(group.SamplingFrequency)), leads, int(group.NumberOfWaveformSamples))

    def _signal(self) -> NDArray[np.float32]:
        group = self._group()
        channels = self._channels(group)
        digits = _digits(group)
        signal = scaled(digits, 1, tuple(c.place for c in channels), tuple(c.scale for c in channels))
        signal += np.array([[channel.baseline] for channel in channels], np.float32)
        padding = group.get("WaveformPaddingValue")
        if padding is not None:
            empty = np.frombuffer(padding, digits.dtype)[0] if isinstance(padding, bytes) else int(padding)
            signal[digits.T[[channel.place for channel in channels]] == empty] = np.nan
        return signal

    def _group(self) -> Any:
        import pydicom

        if self.path.stat().st_size > 8 * MOST_SAMPLES:
            raise Fault("is larger than a recording may be; split it")
        syntax = pydicom.filereader.read_file_meta_info(self.path).TransferSyntaxUID
        if syntax not in LITTLE_ENDIAN:
            raise Fault(f"is written in {syntax.name}; convert it to Explicit VR Little Endian")
        # From memory, where a length that is wrong by gigabytes ends with the file.
        dataset = pydicom.dcmread(BytesIO(self.path.read_bytes()), specific_tags=["WaveformSequence"])
        groups = [group for group in dataset.get("WaveformSequence", ()) if group.WaveformOriginality == "ORIGINAL"]
        best = max(groups, key=lambda group: len(_leads(group)), default=None)
        if best is None or not _leads(best):
            raise Fault("holds no original waveform of a standard lead")
        return best

    def _channels(self, group: Any) -> list[Channel]:
        leads = _leads(group)
        channels = []
        for i in self.stated.signals(list(leads.values())).places:
            place = list(leads)[i]
            definition = group.ChannelDefinitionSequence[place]
            if "ChannelSensitivity" not in definition:
                raise Fault(f"lead {leads[place]} has no sensitivity, so its gain is not known")
            unit = definition.ChannelSensitivityUnitsSequence[0].CodeValue
            millivolts = self.stated.millivolts(unit)
            correction = definition.get("ChannelSensitivityCorrectionFactor")
            gain = float(definition.ChannelSensitivity) * (1.0 if correction is None else float(correction))
            if not gain or not np.isfinite(gain):
                raise Fault(f"lead {leads[place]} has a sensitivity of {gain:g}; export it again")
            baseline = float(definition.get("ChannelBaseline") or 0.0)
            channels.append(Channel(place, leads[place], gain * millivolts, baseline * millivolts))
        return channels


def _leads(group: Any) -> dict[int, str]:
    """The standard lead of each channel that is one, by its code, else by its meaning."""
    leads = {}
    for place, definition in enumerate(group.ChannelDefinitionSequence):
        for source in definition.get("ChannelSourceSequence", ())[:1]:
            code = _CODE.fullmatch(str(source.get("CodeValue", "")))
            lead = LEAD_CODES.get(int(code["number"])) if code else lead_of(str(source.get("CodeMeaning", "")))
            if lead is not None:
                leads[place] = lead
    return leads


def _digits(group: Any) -> NDArray[Any]:
    """(T, C), as recorded."""
    interpretation = group.WaveformSampleInterpretation
    if interpretation not in SAMPLES:
        raise Fault(f"its samples are stored as {interpretation}, which is not read here; export them as SS")
    kind = np.dtype(SAMPLES[interpretation])
    samples, channels = int(group.NumberOfWaveformSamples), int(group.NumberOfWaveformChannels)
    check_size(channels, samples)
    if len(group.ChannelDefinitionSequence) != channels:
        raise Fault(f"holds {channels} channels and describes {len(group.ChannelDefinitionSequence)}; export it again")
    promised = samples * channels * kind.itemsize
    if 8 * kind.itemsize != group.WaveformBitsAllocated or not 0 <= len(group.WaveformData) - promised <= 1:
        raise Fault(f"holds {len(group.WaveformData)} bytes of samples and promises {promised}; export it again")
    return np.frombuffer(group.WaveformData, kind, samples * channels).reshape(samples, channels)
