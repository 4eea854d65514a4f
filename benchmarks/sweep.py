"""How long a few-shot sweep takes once its features are embedded, beside its cells started one by one.

40 cells of MIT-BIH, 4 budgets and 10 seeds, each with a random encoder's probe and the classical baseline beside it.
The encoder has random weights: what it learned changes no time. Real recordings where `ECG_DATA_ROOT` is set, else
synthetic ones.

    python benchmarks/sweep.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from ecg_lightning.encoders.checkpoint import save_encoder
from ecg_lightning.encoders.vit import ViT
from ecg_lightning.provenance import commit, device
from ecg_lightning.signal import SignalSpec

EVALUATE = Path(__file__).resolve().parent.parent / "evaluate.py"
CELLS = ("-m", "budget=10,25,50,100", "seed=range(0,10)")
SIZE = {"dim": 128, "depth": 4, "heads": 4, "patch_seconds": 0.2}


def encoder(path: Path) -> Path:
    """An `encoder.pt` that nobody trained."""
    trained_on = {"name": "nothing", "fingerprint": "", "patients": [], "skipped": {}, "substituted_leads": {}}
    training = {"data": trained_on, "objective": "MAE", "learned": False, "commit": commit()}
    config = {"_target_": "ecg_lightning.encoders.vit.ViT", **SIZE}
    save_encoder(path, ViT(SignalSpec.of_seconds(100, ("II", "V1"), 4), **SIZE), config, training)
    return path


def recordings(scratch: Path) -> Path:
    """A folder in MIT-BIH's layout."""
    if "ECG_DATA_ROOT" in os.environ:
        return Path(os.environ["ECG_DATA_ROOT"]).resolve() / "mitdb"
    from ecg_lightning.data.synthetic.write import write_dataset

    write_dataset(scratch, records=0, holter=44, holter_minutes=30.0)
    return scratch / "mitdb"


def seconds(scratch: Path, *arguments: str) -> float:
    """How long a call of `evaluate.py` takes, its start included."""
    common = [f"checkpoint={scratch / 'encoder.pt'}", "data=mitbih", "protocol=linear", f"cache_dir={scratch}"]
    begin = perf_counter()
    subprocess.run([sys.executable, EVALUATE, *common, *arguments], check=True, capture_output=True, cwd=scratch)
    return perf_counter() - begin


def main() -> None:
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        encoder(scratch / "encoder.pt")
        root = f"data.root={recordings(scratch)}"
        embedding = seconds(scratch, root, "budget=10", "seed=100")
        alone = seconds(scratch, root, "budget=100", "seed=100")
        together = seconds(scratch, root, *CELLS)
    print(f"`python benchmarks/sweep.py`, commit {commit()}, {device()}\n")
    print("| 40 few-shot cells with 80 baselines beside them | |\n|---|---|")
    print(f"| first cell, with preparing and embedding | {embedding:.0f} s |")
    print(f"| one more cell, in a process of its own | {alone:.1f} s |")
    print(f"| 40 cells in one process | {together:.0f} s, {40 * alone / together:.1f} x as fast as one by one |")


if __name__ == "__main__":
    main()
