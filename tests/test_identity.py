"""Whose recordings are shared, against a comparison of every name with every other."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_lightning.data.identity import count_people, is_known, shared

populations = st.sampled_from(["ptbxl", "mitbih", "g12ec"])
names = st.one_of(
    st.builds("{}/{}".format, populations, st.integers(1, 4)),
    st.builds("{}/{}:{}".format, populations, st.sampled_from(["cinc", "kaggle", "cinc:2020"]), st.integers(1, 4)),
)
groups = st.lists(names, max_size=6)


def parsed(name: str) -> tuple[str, str | None]:
    """Population and naming; None where the name is the patient's own."""
    match = re.fullmatch(r"([^/]+)/(?:(.*):)?([^:]+)", name)
    assert match is not None
    return match[1], match[2]


@settings(max_examples=300, deadline=None)
@given(groups, groups)
def test_two_groups_share_who_is_named_in_both_and_are_unclear_where_one_population_is_named_in_two_ways(
    some: list[str], others: list[str]
) -> None:
    patients, unclear = set(), set()
    for a in some:
        for b in others:
            if a == b:
                patients.add(a)
            (population, naming), (other_population, other_naming) = parsed(a), parsed(b)
            if population == other_population and naming != other_naming:
                unclear.add(population)
    found = shared(some, others)
    assert found == (tuple(sorted(patients)), tuple(sorted(unclear)))
    assert bool(found) == bool(patients or unclear)
    assert shared(others, some) == found


@settings(max_examples=50, deadline=None)
@given(names)
def test_a_patient_is_known_where_the_name_has_no_naming(name: str) -> None:
    assert is_known(name) == (parsed(name)[1] is None)


@pytest.mark.parametrize(
    ("some", "others", "said"),
    [
        (["mitbih/100"], ["mitbih/100", "mitbih/101"], "1 patient (mitbih/100)"),
        ([f"p/{i}" for i in range(5)], [f"p/{i}" for i in range(9)], "5 patients (p/0, p/1, p/2, ...)"),
        (["mitbih/kaggle:train-17"], ["mitbih/100"],
         "people of mitbih under other names, who cannot be told apart"),
        (["ptbxl/15709", "ptbxl/cinc:HR00001"], ["ptbxl/15709", "ptbxl/cinc:HR00001"],
         "2 patients (ptbxl/15709, ptbxl/cinc:HR00001) and people of ptbxl under other names, who cannot be told "
         "apart"),
    ],
)  # fmt: skip
def test_what_is_shared_is_said_in_words(some: list[str], others: list[str], said: str) -> None:
    assert str(shared(some, others)) == said


@pytest.mark.parametrize(
    ("some", "others"),
    [
        ([], ["mitbih/100"]),
        (["mitbih/100"], ["mitbih/101"]),
        (["mitbih/100"], ["ptbxl/100"]),
        (["g12ec/cinc:E00001"], ["g12ec/cinc:E00002"]),
        (["ptbxl/cinc:HR00001"], ["mitbih/kaggle:HR00001"]),
    ],
)
def test_nothing_is_shared_between_people_who_can_be_told_apart(some: list[str], others: list[str]) -> None:
    assert not shared(some, others)


def test_people_are_counted_as_what_is_known_of_them() -> None:
    assert count_people(["mitbih/100", "ptbxl/3"]) == "2 patients"
    assert count_people(["g12ec/cinc:E1"]) == "1 recordings of people unknown"
    assert count_people(["mitbih/100", "g12ec/cinc:E1"]) == "1 patients and 1 recordings of people unknown"
