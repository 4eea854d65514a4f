"""Leads by name, and what stands in for those that were not recorded: naive equations and real 12-lead recordings."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecg_lightning.errors import UserError
from ecg_lightning.leads import TWELVE_LEADS, canonical_lead, describe, lead_mixtures, select_leads

FRONTAL = TWELVE_LEADS[:6]
few = settings(max_examples=60, deadline=None)


def limb_leads(right_arm: Any, left_arm: Any, left_foot: Any) -> dict[str, Any]:
    """The six frontal leads as they are defined: from the potentials of three electrodes."""
    return {
        "I": left_arm - right_arm,
        "II": left_foot - right_arm,
        "III": left_foot - left_arm,
        "aVR": right_arm - (left_arm + left_foot) / 2,
        "aVL": left_arm - (right_arm + left_foot) / 2,
        "aVF": left_foot - (right_arm + left_arm) / 2,
    }


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "lead"),
    [("MLII", "II"), ("mlii", "II"), ("ML2", "II"), ("MLIII", "III"), ("AVR", "aVR"), ("avf", "aVF"), (" v1 ", "V1"),
     ("i", "I"), ("aVL", "aVL"), ("V5", "V5"), ("PLETH", "PLETH"), ("V7", "V7")],
)  # fmt: skip
def test_a_lead_is_known_by_every_spelling(spelling: str, lead: str) -> None:
    assert canonical_lead(spelling) == lead


def test_of_two_names_of_one_lead_the_first_recorded_counts() -> None:
    signal = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert select_leads(signal, ("V1", "MLII", "II"), ("II",), "replicate").tolist() == [[3.0, 4.0]]


# --- what stands in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("have", "want", "source"),
    [
        (("MLII", "V1"), "II", "II"),
        (("II", "V5"), "V1", "V5"),
        (("V1", "V5"), "V2", "V1"),
        (("V1", "V4", "II"), "V6", "V4"),
        (("I", "III"), "aVF", "III"),
        (("I", "aVF"), "aVL", "I"),
        (("II", "aVL"), "aVF", "II"),
        (("V2", "V5"), "II", "V2"),
        (("III", "I"), "V3", "I"),
        (("PLETH", "V5"), "II", "V5"),
    ],
)
def test_the_nearest_recorded_lead_replicates_a_missing_one(have: tuple[str, ...], want: str, source: str) -> None:
    assert lead_mixtures(have, [want], "replicate") == {want: {source: 1.0}}


@few
@given(
    have=st.lists(st.sampled_from([*TWELVE_LEADS, "MLII", "PLETH"]), min_size=1, unique_by=canonical_lead),
    want=st.lists(st.sampled_from(TWELVE_LEADS), min_size=1, unique=True),
    missing=st.sampled_from(["replicate", "zero", "mean", "derive"]),
)
def test_recorded_leads_arrive_by_name_and_missing_ones_by_the_rule(
    have: list[str], want: list[str], missing: Any
) -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(len(have), 7)).astype(np.float32)
    by_name = {canonical_lead(name): row for name, row in zip(have, signal, strict=True)}
    heart = [row for name, row in by_name.items() if name in TWELVE_LEADS]
    if not heart:
        with pytest.raises(UserError, match="no standard lead"):
            select_leads(signal, have, want, missing)
        return
    chosen = select_leads(signal, have, want, missing)
    assert chosen.shape == (len(want), 7) and chosen.dtype == np.float32
    derivable = sum(name in FRONTAL for name in by_name) > 1
    for lead, row in zip(want, chosen, strict=True):
        if lead in by_name:
            np.testing.assert_array_equal(row, by_name[lead])
        elif missing in ("zero", "mean"):
            np.testing.assert_allclose(row, np.zeros(7) if missing == "zero" else np.mean(heart, axis=0), atol=1e-6)
        elif missing == "replicate" or lead not in FRONTAL or not derivable:
            nearest = lead_mixtures(have, [lead], "replicate")[lead]
            np.testing.assert_array_equal(row, by_name[next(iter(nearest))])


@pytest.mark.parametrize("missing", ["replicate", "zero", "mean", "derive"])
def test_invalid_samples_of_a_lead_that_is_not_used_do_not_spread(missing: Any) -> None:
    have, signal = ("I", "II", "V1", "PLETH"), np.ones((4, 5))
    signal[3] = np.nan
    want = ("I", "II", "V1", "aVF", "V6")
    if missing != "mean":  # V1 is heard in nothing but itself, and in V6 where the nearest stands in
        signal[2], want = np.nan, ("I", "II", "aVF", "III")
    assert np.isfinite(select_leads(signal, have, want, missing)).all()


# --- Einthoven and Goldberger ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", list(combinations(FRONTAL, 2)))
def test_any_two_frontal_leads_give_the_other_four_of_the_same_electrodes(pair: tuple[str, str]) -> None:
    electrodes = np.random.default_rng(0).normal(size=(3, 50))
    truth = limb_leads(*electrodes)
    derived = select_leads(np.stack([truth[lead] for lead in pair]), pair, FRONTAL, "derive")
    np.testing.assert_allclose(derived, np.stack([truth[lead] for lead in FRONTAL]), atol=1e-7)


@pytest.mark.realdata
@pytest.mark.parametrize("kind", ["records100/00000/{:05d}_lr", "records500/00000/{:05d}_hr"])
def test_leads_derived_from_i_and_ii_are_the_published_ones_to_the_rounding(data_root: Path, kind: str) -> None:
    """PTB-XL rounds every lead to 1 uV: half a step of each of the three leads of an equation."""
    for number in range(1, 101, 3):
        record = wfdb.rdrecord(str(data_root / "ptbxl" / kind.format(number)))
        assert [canonical_lead(name) for name in record.sig_name] == list(TWELVE_LEADS)
        derived = select_leads(record.p_signal.T[:2], ("I", "II"), FRONTAL, "derive")
        np.testing.assert_allclose(derived, record.p_signal.T[:6], atol=0.0015001)


# --- how a result says it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("have", "want", "missing", "said"),
    [
        (("MLII",), "V1", "replicate", "II"),
        (("II",), "V1", "zero", "zero"),
        (("I", "II"), "III", "derive", "-I + II"),
        (("I", "II"), "aVR", "derive", "-0.5 I - 0.5 II"),
        (("I", "II"), "aVF", "derive", "-0.5 I + II"),
        (("II", "III"), "aVF", "derive", "0.5 II + 0.5 III"),
        (("II", "V1"), "V2", "mean", "0.5 II + 0.5 V1"),
        (("I", "II", "V1"), "V2", "mean", "mean"),
        (("II",), "aVF", "derive", "II"),
    ],
)
def test_a_substitute_is_named_by_its_terms(have: tuple[str, ...], want: str, missing: Any, said: str) -> None:
    assert describe(lead_mixtures(have, [want], missing)[want]) == said


@few
@given(st.sampled_from(list(combinations(FRONTAL, 2))), st.sampled_from(FRONTAL))
def test_what_is_said_of_a_derived_lead_can_be_computed_with(pair: tuple[str, str], want: str) -> None:
    """The sentence, read as arithmetic, gives the lead."""
    leads: dict[str, NDArray[np.float64]] = limb_leads(*np.random.default_rng(1).normal(size=(3, 4)))
    terms = describe(lead_mixtures(pair, [want], "derive")[want]).replace("- ", "+ -").split("+")
    total = np.zeros(4)
    for term in filter(None, map(str.strip, terms)):
        factor, _, lead = term.rpartition(" ")
        sign = -1.0 if lead.startswith("-") else 1.0
        total += sign * (float(factor) if factor else 1.0) * leads[lead.removeprefix("-")]
    np.testing.assert_allclose(total, leads[want], atol=1e-4)
