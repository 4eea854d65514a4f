"""All bootstrap resamples of a test set at once: groups as weights, and ranking metrics under many weightings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

LEAST_RESAMPLES = 40
"""Fewest different resamples an interval is read from: with fewer, none lies beyond a tail of 2.5 %."""

_ROUNDS = 100  # resamples are drawn this many times over in search of complete ones
_BLOCK = 128  # thresholds ranked together, at least; their (block, R) matrices stay in the cache
_TABLE = 2**14  # entries of a block's (block, G) tables: with few groups a block holds more thresholds
_NOBODY = 1e-30  # ranked weight before the first row: makes 0 / 0 a 0 and vanishes beside any count


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
    holders_M = holds_GM.sum(axis=0)
    asked_GM = holds_GM[:, (holders_M > 0) & (holders_M < len(holds_GM))].astype(np.float32)
    kept, drawn, found = [np.zeros((0, len(holds_GM)), dtype=np.int64)], 0, 0
    while found < resamples and drawn < _ROUNDS * resamples:
        counts_RG = _draw_groups(rng, len(holds_GM), resamples)
        kept.append(counts_RG[(counts_RG.astype(np.float32) @ asked_GM > 0).all(axis=1)])
        drawn, found = drawn + resamples, found + len(kept[-1])
    chosen_RG = np.concatenate(kept)[:resamples]
    complete = _enough(chosen_RG)
    if not complete:
        chosen_RG = _draw_groups(rng, len(holds_GM), resamples)
    if not _enough(chosen_RG):
        chosen_RG = chosen_RG[:0]
    return Resamples(chosen_RG.T, complete, found / max(drawn, 1))


def _draw_groups(rng: np.random.Generator, groups: int, resamples: int) -> NDArray[np.int64]:
    """(R, G) multinomial counts of G draws among G groups, each equally likely."""
    cells = rng.integers(groups, size=(resamples, groups)) + groups * np.arange(resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=resamples * groups).reshape(resamples, groups)


def _enough(counts_RG: NDArray[np.int64]) -> bool:
    """Whether the resamples differ enough to read an interval from."""
    return len({counts.tobytes() for counts in counts_RG}) >= LEAST_RESAMPLES


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


def weighted_ranking(
    positive_N: NDArray[np.bool_], score_N: Floats, group_N: NDArray[np.integer], weights_GR: Floats
) -> tuple[Floats, Floats]:
    r"""AUROC and average precision of one class under many weightings of the groups, sorting once.

    A threshold is a distinct score that at least one positive has. Under one weighting, let p_k be the weight of the
    positives at threshold k, T_k and A_k the weight of the positives and of all rows that score at least as much,
    and B_k the weight of the negatives that score more plus half of those tied. With P positives and N negatives,

        AUROC = 1 - sum_k p_k B_k / (P N)                 (Mann-Whitney; ties count half)
        AP    =     sum_k p_k T_k / A_k / P               (as scikit-learn: recall steps, no interpolation)

    T, A and B are linear in the weights: a matrix of row counts (thresholds, groups) times `weights_GR`. From one
    threshold to the next only few rows join, so thresholds are taken in blocks: within a block only the groups of its
    own rows have a column, and the sums of all blocks before it are carried over. The matrices stay small when 22
    patients have 50,000 beats and when every row is a patient alike.

    Args:
        positive_N: (N,) whether the row belongs to the class.
        score_N: (N,) any real score, higher for the class.
        group_N: (N,) in [0, G).
        weights_GR: (G, R) >= 0, how often each group counts in each of R resamples. In float32 the counts are exact
            below 2**24 rows a resample and the results good to 1e-6; in float64 both go further.

    Returns:
        AUROC (R,) and average precision (R,), float64; NaN where a resample lacks positives, or, for AUROC, negatives.
    """
    beaten_R, precise_R = np.zeros((2, weights_GR.shape[1]))
    T_R = np.zeros_like(weights_GR[0])
    A_R = T_R + _NOBODY
    for block in _blocks(positive_N, score_N, group_N, weights_GR.dtype):
        weights_UR = weights_GR.take(block.groups, axis=0)
        # p_k is itself a sum over the groups with a positive here: summing over k first leaves only their columns.
        holders = block.hits.any(axis=0)
        hits_Hk, weights_HR = block.hits.T[holders], weights_UR[holders]

        beaten_HR = (hits_Hk @ block.above) @ weights_UR + hits_Hk.sum(axis=1, keepdims=True) * (A_R - T_R)
        T_kR, A_kR = _carry(block.hits_so_far, weights_UR, T_R), _carry(block.so_far, weights_UR, A_R)
        T_R, A_R = T_kR[-1].copy(), A_kR[-1]
        beaten_R += (weights_HR * beaten_HR).sum(axis=0, dtype=np.float64)
        precise_R += (weights_HR * (hits_Hk @ np.divide(T_kR, A_kR, out=T_kR))).sum(axis=0, dtype=np.float64)

    totals_2G = np.stack([np.bincount(group_N, side_N, len(weights_GR)) for side_N in (positive_N, ~positive_N)])
    P_R, N_R = (totals_2G.astype(weights_GR.dtype) @ weights_GR).astype(np.float64)
    return 1 - _ratio(beaten_R, P_R * N_R), _ratio(precise_R, P_R)


def _carry(table_kU: Floats, weights_UR: Floats, before_R: Floats) -> Floats:
    """`table_kU @ weights_UR + before_R`, (k, R), the sum left to the matrix product: one pass over memory less."""
    ones_k1 = np.ones_like(table_kU[:, :1])
    total_kR: Floats = np.concatenate([table_kU, ones_k1], axis=1) @ np.concatenate([weights_UR, before_R[None]])
    return total_kR


def _ratio(part_R: Floats, whole_R: Floats) -> Floats:
    """NaN where the whole is nothing."""
    ratio_R: Floats = np.divide(part_R, whole_R, out=np.full_like(part_R, np.nan), where=whole_R > 0)
    return ratio_R


class _Block(NamedTuple):
    """Rows of each group, by threshold, that join the ranking in one block of thresholds.

    Attributes:
        groups: (U,) the groups that have any.
        hits: (k, U) positives at each threshold.
        hits_so_far: (k, U) positives at it or above.
        so_far: (k, U) rows at it or above.
        above: (k, U) negatives above, plus half of those at it.
    """

    groups: NDArray[np.integer]
    hits: Floats
    hits_so_far: Floats
    so_far: Floats
    above: Floats


def _blocks(
    positive_N: NDArray[np.bool_], score_N: Floats, group_N: NDArray[np.integer], dtype: np.dtype[np.floating]
) -> Iterator[_Block]:
    """Rank the rows, highest score first, and count them in blocks; rows below the last positive are left out."""
    order = np.argsort(score_N)[::-1]
    positive, score, group = positive_N[order], score_N[order], group_N[order]
    tie = np.concatenate([[0], np.cumsum(score[1:] != score[:-1])])
    is_threshold = np.bincount(tie, positive) > 0
    # The first threshold at which a row is ranked.
    threshold = (is_threshold.cumsum() - is_threshold)[tie]
    tied_negative = is_threshold[tie] & ~positive
    total = int(is_threshold.sum())
    step = max(_BLOCK, _TABLE // (int(group_N.max()) + 1))
    cuts = np.searchsorted(threshold, [*range(0, total, step), total])
    for rows in itertools.starmap(slice, itertools.pairwise(cuts.tolist())):
        groups, column = np.unique(group[rows], return_inverse=True)
        row = threshold[rows] - threshold[rows][0]
        hits, every, tied = (
            _table(row, column, value).astype(dtype) for value in (positive[rows], None, tied_negative[rows])
        )
        hits_so_far, so_far = hits.cumsum(axis=0), every.cumsum(axis=0)
        yield _Block(groups, hits, hits_so_far, so_far, so_far - hits_so_far - tied / 2)


def _table(row: NDArray[np.integer], column: NDArray[np.integer], value: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Sum the values (None: ones) by row and column; neither the last row nor the last column is empty."""
    shape = (row.max() + 1, column.max() + 1)
    return np.bincount(row * shape[1] + column, value, shape[0] * shape[1]).reshape(shape)
