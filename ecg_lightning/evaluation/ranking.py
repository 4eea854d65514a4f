"""AUROC and average precision of all classes at once, under many resamples of the groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from ecg_lightning.evaluation.bootstrap import Floats, Samples
from ecg_lightning.evaluation.decisions import ratio

_FEW = 64  # groups, up to which matrices with a column for each stay small
_WIDTH = 128  # resamples taken together, and
_CELLS = 2**15  # entries of a (thresholds, resamples) matrix: the matrices stay in the cache
_NOBODY = 1e-300  # ranked before the first row: makes 0 / 0 a 0 and vanishes beside any count


def weighted_ranking(truth_NC: NDArray[np.bool_], score_NC: Floats, samples: Samples) -> tuple[Floats, Floats]:
    r"""AUROC and average precision of every class in many samples of the same rows, sorting once.

    A threshold is a distinct score that at least one positive has. In one sample, let p_k be the number of positives
    at threshold k, T_k and A_k the numbers of positives and of all rows that score at least as much, and B_k the number
    of negatives that score more plus half of those tied. With P positives and N negatives,

        AUROC = 1 - sum_k p_k B_k / (P N)                 (Mann-Whitney; ties count half)
        AP    =     sum_k p_k T_k / A_k / P               (as scikit-learn: recall steps, no interpolation)

    T, A and B are sums over the groups, of how many of its rows count times how often it was drawn, and sums along the
    thresholds, of the rows that join the ranking at each. The two may be taken in any order. With few groups the
    thresholds go first, for all resamples once; with many, the groups do, by a sparse product, as each row joins once.

    Args:
        truth_NC: (N, C) whether the row belongs to the class.
        score_NC: (N, C) any real score, higher for the class.
        samples: R >= 1 of these rows.

    Returns:
        AUROC and average precision, each (R, C); NaN where a sample lacks positives, or, for AUROC, negatives.
    """
    (resamples, groups), classes = samples.counts.shape, truth_NC.shape[1]
    steps = _rank(truth_NC, score_NC, samples.group, groups)
    if groups < min(_FEW, resamples):
        sums = partial(_sums_of_few_groups, list(_in_tables(steps, classes)))
    else:
        sums = partial(_sums_of_many_groups, list(_in_blocks(steps, _CELLS // min(resamples, _WIDTH))), classes)
    # The products are too small to share among cores: the resamples are shared instead.
    with _blas().limit(limits=1, user_api="blas"), ThreadPoolExecutor() as pool:
        chunks = np.array_split(samples.counts, -(-resamples // _WIDTH))
        beaten_CR, precise_CR = np.concatenate(list(pool.map(sums, chunks)), axis=2)

    P_RC, N_RC = samples.totals(truth_NC), samples.totals(~truth_NC)
    return 1 - ratio(beaten_CR.T, P_RC * N_RC), ratio(precise_CR.T, P_RC)


@cache
def _blas() -> ThreadpoolController:
    """The libraries that share products among cores; looking for them takes milliseconds."""
    return ThreadpoolController()


class _Steps(NamedTuple):
    """The thresholds of all classes, class after class, each from its highest score down.

    Attributes:
        owner: (K,) the class of each.
        hits: (K, G) positives of each group at it.
        joining: (K, G) rows of each group that score at least as much, but less than the threshold before.
        tied: (K, G) negatives of each group at it.
    """

    owner: NDArray[np.int64]
    hits: csr_array[Any]
    joining: csr_array[Any]
    tied: csr_array[Any]

    def take(self, which: slice) -> _Steps:
        """Some of the thresholds."""
        return _Steps(self.owner[which], self.hits[which], self.joining[which], self.tied[which])

    def pieces(self) -> Iterator[tuple[int, slice]]:
        """Each class with its thresholds."""
        owners, begins = np.unique(self.owner, return_index=True)
        yield from zip(owners.tolist(), map(slice, begins, [*begins[1:], len(self.owner)]), strict=True)


def _rank(truth_NC: NDArray[np.bool_], score_NC: Floats, group_N: NDArray[np.integer], groups: int) -> _Steps:
    """Rank the rows by each class; those below its last positive are left out."""
    score_CN = np.ascontiguousarray(score_NC.T, dtype=np.float64)
    order_CN = np.argsort(-score_CN, axis=1)
    score_CN = np.take_along_axis(score_CN, order_CN, axis=1)
    positive_CN = np.take_along_axis(truth_NC.T, order_CN, axis=1)
    first_CN = np.ones_like(positive_CN)
    first_CN[:, 1:] = score_CN[:, 1:] != score_CN[:, :-1]

    tie_CN = first_CN.cumsum().reshape(first_CN.shape) - 1
    is_step = np.bincount(tie_CN.ravel(), positive_CN.ravel()) > 0
    steps_so_far = is_step.cumsum()
    end_C = steps_so_far[tie_CN[:, -1]]
    # The first threshold at which a row is ranked.
    step_CN = (steps_so_far - is_step)[tie_CN]

    def table(which_CN: NDArray[np.bool_]) -> csr_array[Any]:
        step = step_CN[which_CN]
        begin = np.concatenate([[0], np.bincount(step, minlength=end_C[-1]).cumsum()])
        ones = np.ones(len(step), dtype=np.float32)  # exact up to 2**24 rows at one threshold
        return csr_array((ones, group_N[order_CN[which_CN]], begin), shape=(end_C[-1], groups))

    owner = np.repeat(np.arange(len(end_C)), np.diff(end_C, prepend=0))
    tied_CN = is_step[tie_CN] & ~positive_CN
    return _Steps(owner, table(positive_CN), table(step_CN < end_C[:, None]), table(tied_CN))


def _in_blocks(steps: _Steps, size: int) -> Iterator[_Steps]:
    for begin in range(0, len(steps.owner), size):
        yield steps.take(slice(begin, begin + size))


def _sums_of_many_groups(blocks: Sequence[_Steps], classes: int, counts_RG: NDArray[np.float64]) -> Floats:
    """(2, C, R) sum_k p_k B_k and sum_k p_k T_k / A_k: the groups first."""
    counts_GR = np.ascontiguousarray(counts_RG.T, dtype=np.float32)  # exact, and twice as fast
    beaten_CR, precise_CR, T_CR, A_CR = np.zeros((4, classes, counts_GR.shape[1]))
    A_CR += _NOBODY
    for block in blocks:
        hits_KR, joining_KR, tied_KR = (table @ counts_GR for table in (block.hits, block.joining, block.tied))
        for c, piece in block.pieces():
            p_kR = hits_KR[piece].astype(np.float64)
            T_kR = p_kR.cumsum(axis=0) + T_CR[c]
            A_kR = joining_KR[piece].cumsum(axis=0, dtype=np.float64) + A_CR[c]
            T_CR[c], A_CR[c] = T_kR[-1], A_kR[-1]
            beaten_CR[c] += np.einsum("kr,kr->r", p_kR, A_kR - T_kR - tied_KR[piece] / 2)
            precise_CR[c] += np.einsum("kr,kr->r", p_kR, T_kR / A_kR)
    return np.stack([beaten_CR, precise_CR])


class _Table(NamedTuple):
    """The thresholds of one class, (k, G) each: `p`, `T`, `A` and `B` of every group as if it were drawn alone once."""

    hits: Floats
    so_far: Floats
    ranked: Floats
    above: Floats


def _in_tables(steps: _Steps, classes: int) -> Iterator[_Table]:
    of_class = dict(steps.pieces())
    for c in range(classes):
        own = steps.take(of_class.get(c, slice(0, 0)))
        hits, joining, tied = (table.toarray().astype(np.float64) for table in (own.hits, own.joining, own.tied))
        so_far, ranked = hits.cumsum(axis=0), joining.cumsum(axis=0)
        yield _Table(hits, so_far, ranked, ranked - so_far - tied / 2)


def _sums_of_few_groups(tables: Sequence[_Table], counts_RG: NDArray[np.float64]) -> Floats:
    """(2, C, R) sum_k p_k B_k and sum_k p_k T_k / A_k: the thresholds first."""
    counts_GR = np.ascontiguousarray(counts_RG.T)
    sums_C2R = np.zeros((len(tables), 2, counts_GR.shape[1]))
    for table, sums_2R in zip(tables, sums_C2R, strict=True):
        precise_GR = np.zeros_like(counts_GR)
        for begin in range(0, len(table.hits), _CELLS // _WIDTH):
            block = slice(begin, begin + _CELLS // _WIDTH)
            precision_kR = (table.so_far[block] @ counts_GR) / (table.ranked[block] @ counts_GR + _NOBODY)
            precise_GR += table.hits[block].T @ precision_kR
        sums_2R[0] = (counts_GR * (table.hits.T @ table.above @ counts_GR)).sum(axis=0)
        sums_2R[1] = (counts_GR * precise_GR).sum(axis=0)
    return sums_C2R.transpose(1, 0, 2)
