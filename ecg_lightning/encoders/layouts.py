"""How other projects name the weights of encoders that are here too.

A layout is a list of pairs: a pattern that is searched for in a foreign name, and what stands in its place here. The
first pattern that is found counts. What stands before an encoder in a name (`model.`, `online_network.encoder.`) is no
part of a layout: `foreign.adopt` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

Layout = Sequence[tuple[str, str]]

ECG1DCNN: Layout = ((r"\bfeatures\.(\d+)\.block\.", r"blocks.\1."),)
"""`ECGEncoder1DCNN` of Tumo505/SSL-for-ECG-classification."""

CPC: Layout = (
    (r"\bencoder\.(\d+)\.0\.", r"stem.layers.\1.1."),
    (r"\bencoder\.(\d+)\.1\.", r"stem.layers.\1.2."),
    (r"\brnn\.", "lstm."),
)
"""`CPCModel` of tmehari/ecg-selfsupervised."""


def _xresnet1d() -> Layout:
    """`xresnet1d50` and its kin of ecg_ptbxl_benchmarking, and `ResNetSimCLR` around them of ecg-selfsupervised.

    Children 0 to 2 of it are the stem, 4 to 7 the stages; each path has two names.
    """
    kinds = (("0", "convolution"), ("1", "norm"))
    start = r"(?:\bfeatures\.|(?<![\w.])|(?<=[a-z_]\.))"
    rules = []
    for there, here in kinds:
        for stage in range(4):
            block = rf"{start}{4 + stage}\.(\d+)\."
            rules += [
                (rf"{block}(?:convs|convpath\.0)\.(\d+)\.{there}\.", rf"stages.{stage}.\1.path.\2.{here}."),
                (rf"{block}idpath\.(\d+)\.{there}\.", rf"stages.{stage}.\1.shortcut.\2.{here}."),
            ]
    stems = [(rf"{start}([0-2])\.{there}\.(?=\w+$)", rf"stem.\1.{here}.") for there, here in kinds]
    return [*rules, *stems]


LAYOUTS: dict[str, Layout] = {
    "the names here": (),
    "ECGEncoder1DCNN of SSL-for-ECG-classification": ECG1DCNN,
    "xresnet1d of ecg_ptbxl_benchmarking and ecg-selfsupervised": _xresnet1d(),
    "CPC of ecg-selfsupervised": CPC,
}
"""By what messages call them, in the order in which they are tried."""


def rename(name: str, layout: Layout) -> str:
    """The name that a foreign weight has here, whatever stands before its encoder."""
    for pattern, here in layout:
        renamed, found = re.subn(pattern, here, name, count=1)
        if found:
            return renamed
    return name
