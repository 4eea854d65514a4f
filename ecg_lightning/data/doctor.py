"""Look a data set over before anything runs: `python -m ecg_lightning.data.doctor data=ptbxl data.root=DIR`.

It tells what is there (version, rates, leads, lengths, patients, classes by split), what is wrong (missing files, units
that look wrong, flat, clipped, NaN, duplicated recordings) and what to do about each, and draws some of the recordings.
Exit code 0: nothing to mend; 1: something is to be mended or looked at; 2: there is nothing to look at.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecg_lightning.cli import command_line, composed_command

if TYPE_CHECKING:
    from omegaconf import DictConfig


def examine_and_tell(config: DictConfig) -> bool:
    """Examine a data set, print what was found, and write `doctor.json` and pictures.

    Args:
        config: as `conf/doctor.yaml` composes it.

    Returns:
        Whether nothing is to be mended or looked at.

    Raises:
        UserError: there is nothing to look at.
    """
    # Imported late: a worker process imports this file and has no use for torch.
    from ecg_lightning.build import build_data
    from ecg_lightning.data.examination.examine import examine
    from ecg_lightning.data.module import ECGDataModule
    from ecg_lightning.errors import UserError
    from ecg_lightning.reporting.examination import print_examination, write_examination

    data = build_data(config.data)
    if not isinstance(data, ECGDataModule):
        raise UserError(f"data={config.data.name} is made of several data sets; look over each by itself")
    data.on_bad_record = "skip"  # bad recordings are what it is about
    examination = examine(data)
    write_examination(examination, data.records(), Path(config.out))
    print_examination(examination)
    print(f"{Path(config.out) / 'doctor.json'}, pictures beside it")
    return examination.well


def main() -> None:
    """The command line."""
    composed_command("doctor", examine_and_tell)


if __name__ == "__main__":
    command_line(main)
