"""Which split a recording belongs to: by the folds of a table, or by its patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from ecg_lightning.data.module import SPLITS

BORDERS = (0.7, 0.8)
"""Where validation and test begin on a scale of 0 to 1: 70, 10 and 20 of 100 patients."""

MIDDLES = (0.35, 0.75, 0.9)


def split_by_fold(folds: Sequence[str]) -> list[int]:
    """The split of each recording by its fold.

    Args:
        folds: `train`, `val` or `test` of each; or numbers, of which the highest tests and the next validates.

    Returns:
        Numbers in `SPLITS`.

    Raises:
        ValueError: they are neither.
    """
    if set(folds) <= set(SPLITS):
        return [("train", "val", "test").index(fold) for fold in folds]
    odd = [fold for fold in folds if not (fold.isascii() and fold.isdigit() and len(fold) < 5)]
    if odd:
        worst = next((fold for fold in odd if fold not in SPLITS), odd[0])
        raise ValueError(f"{worst!r} is not one of {', '.join(SPLITS)}, nor are all of them small numbers")
    numbers = sorted({int(fold) for fold in folds})
    if len(numbers) < len(SPLITS):
        raise ValueError(
            f"there are {len(numbers)} of them; the highest tests and the next validates, so three it takes"
        )
    return [max(0, numbers.index(int(fold)) - len(numbers) + len(SPLITS)) for fold in folds]


def split_by_patient(patients: Sequence[str]) -> Mapping[str, int]:
    """The split of each patient by a hash of the name, so that it stays when others come or go.

    In a small set the hash may leave a split empty: then whoever is nearest to it moves there.

    Args:
        patients: all of them.

    Returns:
        Numbers in `SPLITS` by patient.
    """
    place = {name: int.from_bytes(blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48 for name in patients}
    split = {name: sum(at >= border for border in BORDERS) for name, at in place.items()}
    for number, middle in enumerate(MIDDLES):
        members = Counter(split.values())
        if number not in members and len(split) >= len(SPLITS):
            spare = [name for name, now in split.items() if members[now] > 1]
            split[min(spare, key=lambda name: abs(place[name] - middle))] = number
    return split
