"""Where a data set lies."""

from __future__ import annotations

from pathlib import Path

from ecg_lightning.errors import UserError


def locate(root: Path, marker: str, slugs: tuple[str, ...], remedy: str) -> Path:
    """Find the folder that holds a data set's files.

    It is `root` itself or, as PhysioNet's downloads nest it, `files/SLUG/VERSION` below `root` or beside it, with or
    without `physionet.org/` before that.

    Args:
        root: where the configuration says it is.
        marker: glob of a file that the folder must hold.
        slugs: PhysioNet's names of the data set.
        remedy: how to come by the data.

    Raises:
        UserError: it is not there.
    """
    nested = [f"{host}files/{slug}/*" for slug in slugs for host in ("", "physionet.org/", "*/")]
    below = [folder for pattern in nested for folder in sorted(root.glob(pattern), reverse=True)]
    beside = [folder for pattern in nested[:] for folder in sorted(root.parent.glob(pattern), reverse=True)]
    for folder in (root, *below, *beside):
        if folder.is_dir() and next(folder.glob(marker), None) is not None:
            return folder
    state = f"holds no {marker}" if root.is_dir() else "is missing"
    raise UserError(f"data.root={root} {state}; {remedy}, or set data.root or ECG_DATA_ROOT to where the data are")
