"""All bootstrap resamples of a test set at once: how often each group is drawn, and the interval of what follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.floating]

LEAST_RESAMPLES = 40
"""Fewest different resamples an interval is read from: with fewer, none lies beyond a tail of 2.5 %."""

_ROUNDS = 100  # resamples are drawn this many times over in search of complete ones


class Resamples(NamedTuple):
    """Bootstrap resamples of G groups.

    Attributes:
        counts: (G, R) how often each group is drawn in each resample; R may be 0.
        complete: whether every resample holds every class.
        complete_share: the share of all resamples drawn that did.
    """

    counts: NDArray[np.int64]
    complete: bool
    complete_share: float


class Samples(NamedTuple):
    """The same rows many times over: some test set, its resamples, or both.

    Attributes:
        group: (N,) the group of each row, in [0, G).
        counts: (R, G) how often each group is drawn.
    """

    group: NDArray[np.integer]
    counts: NDArray[np.float64]

    def totals(self, columns_NX: NDArray[Any]) -> NDArray[np.float64]:
        """(R, X) sum of each column over the rows of each sample."""
        return self.counts @ sums_by_group(columns_NX, self.group, self.counts.shape[1])


def sums_by_group(columns_NX: NDArray[Any], group_N: NDArray[np.integer], groups: int) -> NDArray[np.float64]:
    """(G, X) sum of each column over the rows of each of G groups."""
    rows = len(group_N)
    member_NG = csr_array((np.ones(rows), group_N, np.arange(rows + 1)), shape=(rows, groups))
    sums_GX: NDArray[np.float64] = member_NG.T @ columns_NX.astype(np.float64)
    return sums_GX


def draw_resamples(holds_GM: NDArray[np.bool_], resamples: int, seed: int) -> Resamples:
    """Draw groups with replacement until enough resamples hold every class.

    A resample that lacks a class has no macro metric, so it is drawn again. Where fewer than `LEAST_RESAMPLES`
    different complete resamples turn up among `100 * resamples` (say, five classes that live in one patient each),
    plain resamples are returned instead: metrics that they leave undefined are to be skipped, never redefined. Where
    even those hardly differ (four groups or fewer), none is returned, for they say nothing about other groups.

    Args:
        holds_GM: (G, M) bool, which group holds which of the M things that a complete resample must hold; what no
            group holds is not asked for.
        resamples: number of resamples wanted.
        seed: of the draw, and of nothing else.
    """
    rng = np.random.default_rng(seed)
    groups = len(holds_GM)
    marks_WG = _marks(holds_GM)
    kept, drawn, found = [np.zeros((0, groups), dtype=np.int64)], 0, 0
    while found < resamples and drawn < _ROUNDS * resamples:
        drawn_RG = rng.integers(groups, size=(resamples, groups))
        for marks_G in marks_WG:
            drawn_RG = drawn_RG[np.bitwise_or.reduce(marks_G[drawn_RG], axis=1) == np.bitwise_or.reduce(marks_G)]
        kept.append(_count(drawn_RG))
        drawn, found = drawn + resamples, found + len(kept[-1])
    chosen_RG = np.concatenate(kept)[:resamples]
    complete = _enough(chosen_RG)
    if not complete:
        chosen_RG = _count(rng.integers(groups, size=(resamples, groups)))
    if not _enough(chosen_RG):
        chosen_RG = chosen_RG[:0]
    return Resamples(chosen_RG.T, complete, found / max(drawn, 1))


def _marks(holds_GM: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(W, G) what each group holds, as bits of W words; the rarest things, which most resamples lack, come first.

    A union of groups is then one bitwise or, and most resamples are refused by their first word.
    """
    holders_M = holds_GM.sum(axis=0)
    rarest = np.argsort(holders_M, kind="stable")
    asked = rarest[(holders_M[rarest] > 0) & (holders_M[rarest] < len(holds_GM))]
    words = -(-len(asked) // 64)
    bits_GM = np.zeros((len(holds_GM), 64 * words), dtype=bool)
    bits_GM[:, : len(asked)] = holds_GM[:, asked]
    marks_GW = np.packbits(bits_GM, axis=1).view(np.uint64)
    return np.ascontiguousarray(marks_GW.T)


def _count(drawn_RG: NDArray[np.int64]) -> NDArray[np.int64]:
    """(R, G) how often each group is among those drawn."""
    resamples, groups = drawn_RG.shape
    cells = drawn_RG + groups * np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=resamples * groups).reshape(resamples, groups)


def _enough(counts_RG: NDArray[np.int64]) -> bool:
    """Whether the resamples differ enough to read an interval from."""
    different = set()
    for counts in counts_RG:
        different.add(counts.tobytes())
        if len(different) >= LEAST_RESAMPLES:
            return True
    return False


def percentile_interval(values_R: Floats) -> tuple[float, float] | None:
    """The 95 % percentile interval (Efron 1979) of a metric over resamples.

    Args:
        values_R: (R,), NaN where a resample leaves the metric undefined; those are skipped.

    Returns:
        The 2.5th and 97.5th percentile, or None where fewer than `LEAST_RESAMPLES` values are left.
    """
    values = values_R[~np.isnan(values_R)]
    if len(values) < LEAST_RESAMPLES:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def percentile_intervals(values_RM: Floats) -> list[tuple[float, float] | None]:
    """The `percentile_interval` of each of M metrics, those that every resample defines at once.

    Args:
        values_RM: (R, M), NaN where a resample leaves a metric undefined.
    """
    if len(values_RM) < LEAST_RESAMPLES:
        return [None] * values_RM.shape[1]
    whole_M = np.isfinite(values_RM.sum(axis=0))
    ends = iter(np.percentile(values_RM[:, whole_M], [2.5, 97.5], axis=0).T.tolist())
    return [
        tuple(next(ends)) if whole else percentile_interval(values_R)
        for whole, values_R in zip(whole_M.tolist(), values_RM.T, strict=True)
    ]
