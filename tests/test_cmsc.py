"""CMSC and its kin against a loop over pairs of windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_swav import OneLength
from torch import Tensor
from views import SPEC, adamw, hearts, mean, numbers, silent, train, vit

from ecg_lightning.data.windows import Batch
from ecg_lightning.errors import UserError
from ecg_lightning.objectives.cmsc import CMSC, patient_contrast
from ecg_lightning.signal import SignalSpec


def cmsc(**changed: Any) -> CMSC:
    arguments = {"encoder": vit(), "positives": "segments", "projection": 8, "temperature": 0.1} | changed
    return CMSC(optimizer=adamw, **arguments)


def naive(
    a: NDArray[np.float64], b: NDArray[np.float64], patient: list[int], present: list[bool], temperature: float
) -> tuple[float, float, float]:
    """Pair by pair; windows that do not count are not looked at."""
    there = [i for i, each in enumerate(present) if each]
    if not there:
        return 0.0, 0.0, 0.0

    def cosine(i: int, j: int) -> float:
        return float(a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j]))

    own, kin, hits, chances = [], [], [], []
    for i in there:
        row = {j: math.exp(cosine(i, j) / temperature) for j in there}
        for j in there:
            if patient[i] != patient[j]:
                continue
            column = {k: math.exp(cosine(k, j) / temperature) for k in there}
            surprise = (-math.log(row[j] / sum(row.values())) - math.log(column[i] / sum(column.values()))) / 2
            (own if i == j else kin).append(surprise)
        hits.append(patient[max(row, key=lambda j, row=row: row[j])] == patient[i])
        chances.append(sum(patient[j] == patient[i] for j in there) / len(there))
    loss = (np.mean(own) + np.mean(kin)) / 2 if kin else np.mean(own)
    return float(loss), float(np.mean(hits)), float(np.mean(chances))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.data(), st.floats(0.05, 1), st.integers(0, 99))
def test_loss_accuracy_and_chance_are_those_of_a_loop(
    B: int, data: st.DataObject, temperature: float, seed: int
) -> None:
    a, b = np.random.default_rng(seed).normal(size=(2, B, 4))
    patient = data.draw(st.lists(st.integers(2**62, 2**62 + 3), min_size=B, max_size=B))
    present = data.draw(st.lists(st.booleans(), min_size=B, max_size=B))
    both = (torch.tensor(patient), torch.tensor(present))
    found = patient_contrast(torch.from_numpy(a), torch.from_numpy(b), *both, temperature)
    np.testing.assert_allclose(found, naive(a, b, patient, present, temperature), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("present", [[True] * 5, [True, False, True, True, False], [False] * 5])
def test_gradient_is_that_of_finite_differences_of_the_loop(present: list[bool]) -> None:
    z, patient = numbers(2, 5, 3), [1, 2, 1, 3, 2]
    patient_contrast(z[0], z[1], torch.tensor(patient), torch.tensor(present), 0.3).loss.backward()
    assert z.grad is not None
    for index in np.ndindex(2, 5, 3):
        step = np.zeros((2, 5, 3))
        step[index] = 1e-5
        moved = [z.detach().numpy() + sign * step for sign in (1, -1)]
        up, down = (naive(*each, patient, present, 0.3)[0] for each in moved)
        assert z.grad[index].item() == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_segments_are_adjacent_and_do_not_overlap() -> None:
    ramp = torch.arange(200.0).expand(3, 2, 200)
    first, second = (x for x, _ in cmsc()._views(Batch(ramp, torch.arange(3))))
    assert torch.equal(torch.cat([first, second], dim=2), ramp)
    spec = SignalSpec.of_seconds(100, ("II", "V1"), 1.8)  # 9 patches of 20: a half is 4 of them
    first, second = (x for x, _ in cmsc(encoder=vit(spec))._views(Batch(ramp[..., :180], torch.arange(3))))
    assert torch.equal(torch.cat([first, second], dim=2), ramp[..., :160])


@pytest.mark.parametrize("leads", [2, 5, 12])
def test_views_of_leads_show_disjoint_halves_of_them(leads: int) -> None:
    spec = SignalSpec.of_seconds(
        100, ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")[:leads], 2
    )
    x = 1 + torch.rand(50, leads, 200)
    a, b = (view for view, _ in cmsc(encoder=vit(spec), positives="leads")._views(Batch(x, torch.arange(50))))
    shown = (a != 0).all(dim=2)
    assert torch.equal(a + b, x) and torch.equal(shown, ~(b != 0).any(dim=2))
    assert shown.sum(dim=1).tolist() == [leads // 2] * 50
    assert len({tuple(row) for row in shown.tolist()}) > 1 and shown.any(dim=0).all()


def test_both_are_four_views_compared_each_with_each() -> None:
    model, batch = cmsc(positives="both").double(), Batch(torch.randn(5, 2, 200).double(), torch.arange(5),
                                                          patient=torch.tensor([0, 1, 0, 2, 3]))  # fmt: skip
    torch.manual_seed(1)
    logged = model.loss(batch)
    torch.manual_seed(1)
    views = [x for x, _ in model._views(batch)]
    assert [x.shape[-1] for x in views] == [100] * 4
    z = [model.projector(model.encoder(x)).detach().numpy() for x in views]
    losses = [naive(z[i], z[j], [0, 1, 0, 2, 3], [True] * 5, 0.1) for i in range(4) for j in range(i + 1, 4)]
    expected = dict(zip(("loss", "accuracy", "chance"), np.mean(losses, axis=0), strict=True))
    assert {key: value.item() for key, value in logged.items()} == pytest.approx(expected, rel=1e-5)


def test_windows_are_patients_of_their_own_where_nobody_says_whose_they_are() -> None:
    x = torch.randn(6, 2, 200)
    unknown = cmsc().loss(Batch(x, torch.arange(6) + 9))
    different = cmsc().loss(Batch(x, torch.zeros(6, dtype=torch.int64), patient=torch.arange(6)))
    assert unknown == different and unknown["chance"].item() == pytest.approx(1 / 6)
    same = cmsc().loss(Batch(x, torch.arange(6), patient=torch.zeros(6, dtype=torch.int64)))
    assert same["chance"].item() == same["accuracy"].item() == 1
    assert not cmsc().verdict({f"val/{key}": value.item() for key, value in same.items()}).learned


def in_places(*places: tuple[int, int]) -> Batch:
    """Windows of 200 samples that hold their recordings in these places."""
    t = torch.arange(200)
    valid = torch.stack([(t >= begin) & (t < end) for begin, end in places])
    x: Tensor = torch.randn(len(places), 2, 200, generator=torch.Generator().manual_seed(3)) * valid[:, None]
    return Batch(x, torch.arange(len(places)), valid=valid, patient=torch.tensor([5, 6, 5, 7, 8])[: len(places)])


def test_a_window_with_a_half_outside_its_recording_does_not_count() -> None:
    batch = in_places((0, 200), (0, 100), (40, 160), (90, 200), (120, 130))
    counted = Batch(*(None if each is None else each[[0, 2, 3]] for each in batch))
    model = cmsc().eval()
    for key, value in model.loss(batch).items():
        assert value.item() == pytest.approx(model.loss(counted)[key].item(), rel=1e-5), key
    model.train().loss(batch)["loss"].backward()
    assert not silent(model)
    leads = cmsc(positives="leads").loss(batch)
    assert leads["chance"].item() == pytest.approx((2 + 1 + 2 + 1 + 1) / 25), "of leads every window has both halves"


def test_a_batch_in_which_no_window_counts_is_worth_nothing_and_breaks_nothing() -> None:
    model = cmsc()
    logged = model.loss(in_places((0, 100), (0, 3), (150, 160)))
    logged["loss"].backward()
    assert all(value.item() == 0 for value in logged.values())
    assert all(p.grad is None or not p.grad.any() for p in model.parameters()), "and finite: NaN is not 0"
    assert not model.verdict({f"val/{key}": value.item() for key, value in logged.items()}).learned


def test_what_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"objective=cmsc .* encoder OneLength takes no 100 samples but 200; .*leads"):
        cmsc(encoder=OneLength())
    assert cmsc(encoder=OneLength(), positives="leads").loss(hearts(4))["loss"].isfinite()
    single = SignalSpec.of_seconds(100, ("II",), 2)
    for positives in ("leads", "both"):
        with pytest.raises(UserError, match=rf"objective\.positives={positives} .* there is one; .*data\.spec\.leads"):
            cmsc(encoder=vit(single), positives=positives)
    for key in ("projection", "temperature"):
        with pytest.raises(UserError, match=rf"objective\.{key}=0 must be above 0"):
            cmsc(**{key: 0})
    with pytest.raises(UserError, match=r"objective=cmsc .* has one; raise data\.batch_size"):
        cmsc().loss(hearts(1))
    assert cmsc().eval().loss(hearts(1))["loss"].item() == 0
    assert vit().spec == SPEC


def test_training_learns_whose_a_segment_is() -> None:
    model = cmsc()
    history = train(model, hearts(16), steps=60)
    assert mean(history[-5:], "loss") < mean(history[:5], "loss") - 0.5
    last = {f"val/{key}": mean(history[-5:], key) for key in ("accuracy", "chance")}
    assert last["val/accuracy"] > 0.6 and model.verdict(last).learned
