"""Command line: `python -m ecg_lightning.data.synthetic --root DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ecg_lightning.data.synthetic.write import write_dataset
from ecg_lightning.errors import UserError


def main() -> int:
    """Read the arguments and write the data sets; 2 where the arguments cannot be served."""
    parser = argparse.ArgumentParser(
        prog="python -m ecg_lightning.data.synthetic",
        description="Write synthetic recordings in the layouts of PTB-XL and the MIT-BIH Arrhythmia Database.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that gets ptbxl/ and mitdb/")
    parser.add_argument("--records", type=int, default=5000, help="ten-second 12-lead records")
    parser.add_argument("--holter", type=int, default=12, help="two-lead records with annotated beats")
    parser.add_argument("--holter-minutes", type=float, default=30.0, help="length of a two-lead record")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes")
    parser.add_argument("--workers", type=int, default=None, help="processes; 0 works in this one")
    try:
        write_dataset(**vars(parser.parse_args()))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
