"""Another project's checkpoint becomes an `encoder.pt` that can be evaluated."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from ecg_lightning import provenance
from ecg_lightning.build import build_encoder, build_spec, plain
from ecg_lightning.data.history import stated
from ecg_lightning.encoders.checkpoint import is_own, read_plain, save_encoder
from ecg_lightning.errors import UserError
from ecg_lightning.inheritance import take_over
from ecg_lightning.precheck import check_adoption

log = logging.getLogger(__name__)


def adopt_checkpoint(config: DictConfig, run_dir: Path) -> Path:
    """Write `encoder.pt` from another project's checkpoint.

    Args:
        config: as `conf/adopt.yaml` composes it.
        run_dir: where it goes.

    Returns:
        Path of `encoder.pt`.

    Raises:
        UserError: the file cannot be read safely or does not fit the encoder, or the folder holds an encoder already.
    """
    check_adoption(config)
    settings = {key: value for key, value in plain(config).items() if key != "run_dir"}
    source, path = Path(config.checkpoint), run_dir / "encoder.pt"
    if path.exists():
        raise UserError(f"run_dir={run_dir} holds an encoder.pt already; choose another run_dir")
    if is_own(read_plain(source)):
        raise UserError(f"checkpoint={source} is an encoder.pt of this project; evaluate.py takes it as it is")
    encoder = build_encoder(config.encoder, build_spec(config.spec))
    populations = settings["populations"]
    origin = take_over(source, encoder, stated(populations), config.part)
    training = {
        "data": origin["data"],
        "config": settings,
        "objective": config.method,
        "epoch": 0,
        "metrics": {},
        "learned": True,
        "verdict": "It was trained elsewhere, and nobody here has judged it.",
        "commit": provenance.commit(),
        "init": {key: value for key, value in origin.items() if key != "data"},
    }
    run_dir.mkdir(parents=True, exist_ok=True)
    save_encoder(path, encoder, settings["encoder"], training)
    log.info(f"{_whose(populations)}\n{path}")
    return path


def _whose(populations: list[str] | None) -> str:
    if populations is None:
        return ("Nobody has said whose recordings it was trained on: evaluation will ask for allow_seen_patients=true. "
                "populations=[ptbxl] says it, populations=[] that nobody was of whom there are data here.")  # fmt: skip
    if not populations:
        return "It is taken to have seen nobody of whom there are data here."
    return f"It is taken to have seen everybody of {', '.join(populations)}, and nobody else."
