"""Few labels and the features of all who have none: self-training, or label spreading over a graph of neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ecg_lightning.evaluation.cell import Probability
from ecg_lightning.evaluation.features import FeatureSpace, Matrix, Which
from ecg_lightning.evaluation.frozen import Classifier, FrozenMethod, Problem
from ecg_lightning.evaluation.linear import in_threads
from ecg_lightning.evaluation.neighbours import Once, nearest
from ecg_lightning.evaluation.self_training import train_again

NEIGHBOURS = 15
DIRECTIONS = 50
"""Principal components in which neighbours are sought: fifty thousand beats are then compared in seconds."""

PASSED_ON = 0.9
"""Zhou's alpha, the share of its label that an example has from its neighbours and not from its own."""

PASSES = 60
"""After which a label changes by 0.2 % at most (`PASSED_ON ** PASSES`)."""


class SemiSupervised(FrozenMethod):
    """Learn from the whole training split, without its labels but for the budget's.

    No share of the classes among the unlabelled is assumed or estimated: every label of the budget passes on as much
    as any other, as in the linear probe, so that with a balanced budget all classes count the same. For patients whom
    no label is of, label spreading is no better than the nearest neighbours that it rests on (hand-made features of
    held-out patients of MIT-BIH DS1), while self-training raises the probe's macro AUROC and lowers its log-loss.

    Args:
        how: `self_training`, see `train_again`, or `propagation`, see `propagate`.
        features: whose features.
    """

    def __init__(
        self, how: Literal["propagation", "self_training"] = "self_training", features: Which = "pretrained"
    ) -> None:
        super().__init__(features)
        self.how = how

    def solve(self, space: FeatureSpace, problems: Sequence[Problem]) -> Sequence[Classifier]:
        """See `FrozenMethod.solve`."""
        if self.how == "self_training":
            return in_threads(partial(train_again, space.train), problems)
        graph = Graph(space.train)
        return in_threads(partial(propagate, graph), problems)


class Graph:
    """Who is a neighbour of whom in a training split.

    Args:
        train: (N, F) features.
    """

    def __init__(self, train: Matrix) -> None:
        self._directions = principal_directions(train, DIRECTIONS)
        self._train = train @ self._directions
        count = min(NEIGHBOURS, len(train) - 1)
        index = nearest(self._train, self._train, count + 1)
        itself = index == np.arange(len(train))[:, None]
        itself[:, -1] |= ~itself.any(axis=1)  # hidden among its doubles
        votes = _links(index[~itself].reshape(-1, count), len(train))
        links = votes.maximum(votes.T)
        scale = sparse.dia_array((links.sum(axis=1)[None] ** -0.5, 0), shape=links.shape)
        self.spreading: sparse.csr_array = (scale @ links @ scale).tocsr().astype(np.float32)
        self.votes = Once(self._votes)

    def _votes(self, features: Matrix) -> sparse.csr_array:
        """(M, N) the same vote from each of an example's nearest of the training split."""
        count = min(NEIGHBOURS, len(self._train))
        index = nearest(features @ self._directions, self._train, count)
        return _links(index, len(self._train)) / np.float32(count)


def _links(index: NDArray[np.int64], n: int) -> sparse.csr_array:
    """(M, n) ones where `index`, (M, K), says."""
    begin = np.arange(0, index.size + 1, index.shape[1])
    return sparse.csr_array((np.ones(index.size, np.float32), index.reshape(-1), begin), shape=(len(index), n))


def principal_directions(features: Matrix, most: int) -> Matrix:
    """(F, D) the directions of most variance, no more than there are."""
    centred = features - features.mean(axis=0)
    directions: Matrix = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :most]
    return np.ascontiguousarray(directions)


@dataclass(frozen=True)
class Spread:
    """See `Classifier`.

    Attributes:
        graph: of the training split.
        probability: (N, C) of the training split.
        details: see `Classifier`.
    """

    graph: Graph
    probability: Probability
    details: Mapping[str, Any]

    def __call__(self, features: Matrix) -> Probability:
        """The mean of an example's nearest in the training split (induction, Delalleau et al. 2005)."""
        mean: Probability = self.graph.votes(features) @ self.probability
        return mean


def propagate(graph: Graph, problem: Problem) -> Spread:
    """Label spreading (Zhou et al. 2004).

    Each labelled example sends its labels along the graph, `F <- alpha S F + (1 - alpha) Y`. Where an example may
    carry several, what has arrived of a label is compared with what has arrived of all labelled examples. Whom nothing
    reaches has the shares of the budget.

    Args:
        graph: of the training split.
        problem: labels of some of its examples.
    """
    truth = problem.y if problem.y.ndim == 2 else np.eye(problem.classes)[problem.y]
    sent = np.zeros((graph.spreading.shape[0], problem.classes + 1), np.float32)
    sent[problem.index] = np.column_stack([truth, np.ones(len(truth))])
    arrived = sent
    for _ in range(PASSES):
        arrived = PASSED_ON * (graph.spreading @ arrived) + (1 - PASSED_ON) * sent
    nothing = np.float32(1e-12)
    probability = (arrived[:, :-1] + nothing * truth.mean(axis=0, dtype=np.float32)) / (arrived[:, -1:] + nothing)
    return Spread(graph, probability, {"neighbours": NEIGHBOURS, "alpha": PASSED_ON})
