"""`data.share`: how many of the training patients pretraining sees, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PROJECT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from ecg_lightning.build import build_data, build_training_data
from ecg_lightning.cli import refuse_pretraining_keys
from ecg_lightning.data.share import share_of_patients
from ecg_lightning.data.unlabelled import UnlabelledData
from ecg_lightning.data.windows import Draw
from ecg_lightning.errors import UserError
from ecg_lightning.question import cell_folder, open_setting

SHARES = (0.1, 0.5, 1.0)
KINDS = {
    "one data set": (),
    "a mix": ("data=mix", "data.members=[synthetic]"),
    "labelled examples": ("objective=supervised",),
}


@pytest.fixture(scope="module")
def data(synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The training data of a configuration, on synthetic recordings."""
    cache = tmp_path_factory.mktemp("cache")

    def make(*overrides: str) -> UnlabelledData:
        root = synthetic_root / "ptbxl"
        where = f"+data.options.synthetic.root={root}" if "data=mix" in overrides else f"data.root={root}"
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return build_training_data(compose("train", ["data=synthetic", where, f"cache_dir={cache}", *overrides]))

    return make


def patients_served(data: UnlabelledData) -> set[str]:
    """Whose windows come out of the loader, counted window by window."""
    windows: Any = data.unlabelled("train")
    served = windows[Draw(np.arange(len(windows)), np.zeros(len(windows)))].patient
    store = data.stores[0]
    return {store.patient[store.person == person][0] for person in served.tolist()}


@pytest.mark.parametrize("kind", KINDS)
def test_smaller_shares_lie_within_larger_ones_and_the_encoder_says_who_was_seen(data, kind):
    each = {share: data(*KINDS[kind], f"data.share={share}") for share in SHARES}
    everybody = patients_served(each[1.0])
    before: set[str] = set()
    for share, part in each.items():
        served = patients_served(part)
        assert before <= served <= everybody
        assert abs(len(served) - share * len(everybody)) <= (0.5 if kind != "labelled examples" else 2)
        seen = part.seen()
        assert set(seen["patients"]) == set(part.patients("train")) == served and seen["share"] == share
        assert len(seen["digests"]) == len(part.unlabelled("train")), "a recording here is one window"
        assert part.patients("val").tolist() == each[1.0].patients("val").tolist()
        assert len(part.unlabelled("val")) == len(each[1.0].unlabelled("val"))
        before = served


def test_the_seed_draws_the_patients(data):
    first, again, other = (set(data("data.share=0.5", f"seed={seed}").seen()["patients"]) for seed in (0, 0, 1))
    assert first == again != other
    names = np.array([f"p/{i}" for i in range(400)])
    both = set(share_of_patients(names, 0.5, 0)) & set(share_of_patients(names, 0.5, 1))
    assert 70 < len(both) < 130, "seeds are independent: a quarter is in both"
    assert len(share_of_patients(names[:3], 0.01, 0)) == 1


@pytest.mark.parametrize("share", ["0", "1.5", "-1"])
def test_what_is_no_share_is_refused(data, share):
    with pytest.raises(UserError, match=r"data\.share="):
        data(f"data.share={share}")


def test_an_evaluation_knows_no_share(evaluation: Callable[..., DictConfig]):
    whole, part = (evaluation("ptbxl", f"data.share={share}") for share in (1, 0.1))
    settings = [open_setting(config) for config in (whole, part)]
    assert settings[0] is settings[1]
    folders = [cell_folder(config, settings[0].checkpoint, settings[0].data) for config in (whole, part)]
    assert folders[0] == folders[1]
    spec = settings[0].checkpoint.encoder.spec
    examples = [build_data(config.data, spec).labelled for config in (whole, part)]
    np.testing.assert_array_equal(examples[0].y, examples[1].y)
    with pytest.raises(UserError, match=r"data.share=0.1: .* train.py alone"):
        refuse_pretraining_keys(["data.share=0.1"])
