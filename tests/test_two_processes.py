"""Two processes that train together do what one does with the windows of both."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import multiprocessing
from two_processes import NAMES, measure, windows, work

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each process measured."""
    folder = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(work, args=(folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_are_those_of_one_process_with_all_windows(name: str, found: Found) -> None:
    alone, together = measure(name, windows()), [each[name] for each in found]
    logged = ["loss"] if name == "byol" else alone["loss"]  # BYOL's other figures are of each process' own windows
    for key in logged:
        mean = (together[0]["loss"][key] + together[1]["loss"][key]) / 2
        torch.testing.assert_close(
            mean, alone["loss"][key], rtol=1e-6 if key == "relative_error" else 1e-10, atol=1e-12
        )
    assert alone["gradient"] and all(gradient.any() for gradient in alone["gradient"].values())
    for each in together:
        torch.testing.assert_close(each["gradient"], alone["gradient"], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_running_statistics_of_norms_are_those_of_one_process(name: str, found: Found) -> None:
    alone = measure(name, windows())["state"]
    assert any("running_var" in key and (value != 1).any() for key, value in alone.items())
    for each in found:
        torch.testing.assert_close(each[name]["state"], alone, rtol=1e-10, atol=1e-12)


def test_processes_see_the_rows_of_all_and_each_gets_back_what_all_make_of_its_own(found: Found) -> None:
    base = torch.arange(6, dtype=torch.float64).view(2, 3)
    weight = torch.arange(12, dtype=torch.float64).view(2, 2, 3)
    for rank, each in enumerate(found):
        assert torch.equal(each["gathered"]["rows"], torch.cat([base, base + 10]))
        assert torch.equal(each["gathered"]["gradient"], 3 * weight[rank])
        assert each["gathered"]["patient"].tolist() == [2**62, 5, 2**62 + 1, 5]
        assert each["gathered"]["flag"].tolist() == [True, True, False, True]
