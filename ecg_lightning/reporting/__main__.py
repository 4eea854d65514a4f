"""One page of everything that was found out: `python -m ecg_lightning.reporting RUNS...`.

Reads every result below the folders, and what is noted of the jobs of sweeps. Writes report.html, which needs no other
file and no network; beside it tables.md and tables.tex for papers, and all figures as CSV and Parquet.
"""

from __future__ import annotations

import gc
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib.util import find_spec
from pathlib import Path

from ecg_lightning.cli import run
from ecg_lightning.reporting.report.write import write_report


def main() -> None:
    """The command line."""
    parser = ArgumentParser("python -m ecg_lightning.reporting", description=__doc__,
                            formatter_class=RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("runs", nargs="*", type=Path, default=[Path("runs")], metavar="RUNS",
                        help="folders below which results lie, at any depth (default: runs)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/report"), metavar="DIR",
                        help="where to write to (default: runs/report)")  # fmt: skip
    chosen = parser.parse_args()
    run(lambda: report(chosen.runs, chosen.out))


def report(runs: list[Path], out: Path) -> None:
    """Write the report and say where it is.

    Args:
        runs: folders below which results lie.
        out: folder to write to.

    Raises:
        UserError: a folder is missing, or nothing at all lies below them.
    """
    gc.disable()  # all is kept until the end: looking for what is not would take a third of the time
    page, *beside = write_report(runs, out)
    print(f"{page}; beside it {', '.join(path.name for path in beside)}")
    if find_spec("pyarrow") is None:
        print("no Parquet, because pyarrow is missing: pip install 'ecg_lightning[parquet]'")


if __name__ == "__main__":
    main()
