"""Several data sets at once, for pretraining: each rendered to one spec, drawn from by its weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ecg_lightning.data.identity import count_people
from ecg_lightning.data.module import ECGDataModule
from ecg_lightning.data.store import Store
from ecg_lightning.data.unlabelled import SHORTEST_EPOCH, Split, UnlabelledData
from ecg_lightning.data.windows import Batches, Draw, RawBatch, UnlabelledWindows
from ecg_lightning.errors import UserError

GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, modulo 1, fill the unit interval as evenly as any sequence does."""


class Mix(UnlabelledData):
    """Several data sets as one to pretrain on; each keeps its own store, which any other job with this spec shares.

    Validation sees every validation window of every member, whatever the weights.

    Args:
        members: the data sets, rendered to the mix's spec.
        weights: (M,) how often each member is drawn from, relative to the others; None in proportion to its windows.
        base: see `UnlabelledData`.

    Raises:
        UserError: the weights are no weights of these members.
    """

    def __init__(self, members: Sequence[ECGDataModule], weights: Sequence[float] | None = None, **base: Any) -> None:
        super().__init__(**base)
        if weights is not None:
            _check_weights(weights, len(members))
        self.members, self.weights = list(members), weights

    @property
    def stores(self) -> Sequence[Store]:
        """See `UnlabelledData`."""
        found = []
        for member in self.members:
            with named(member.name):
                found.append(member.store)
        return found

    def place(self, device: torch.device) -> None:
        """See `UnlabelledData`."""
        for member in self.members:
            member.place(device)

    def unlabelled(self, split: Split) -> MixedWindows:
        """See `UnlabelledData`."""
        found = []
        for member in self.members:
            with named(member.name):
                found.append(member.unlabelled(split))
        return MixedWindows(found)

    def train_dataloader(self) -> DataLoader[RawBatch]:
        """See `UnlabelledData`; an epoch has as many windows as the members together."""
        windows = self.unlabelled("train")
        batches = MixedBatches(windows.sizes, self._shares(windows.sizes), self.batch_size, self.seed, SHORTEST_EPOCH)
        return DataLoader(windows, batch_size=None, sampler=batches)

    def val_dataloader(self) -> DataLoader[RawBatch]:
        """See `UnlabelledData`."""
        windows = self.unlabelled("val")
        return DataLoader(windows, batch_size=None, sampler=Batches(len(windows), self.batch_size, shuffle=False))

    def patients(self, split: Split) -> NDArray[np.str_]:
        """See `UnlabelledData`."""
        return np.unique(np.concatenate([member.patients(split) for member in self.members]))

    def seen(self) -> dict[str, Any]:
        """See `UnlabelledData`; what is not unique across data sets is preceded by its member's name."""
        each = {member.name: member.seen() for member in self.members}
        shares = self._shares(self.unlabelled("train").sizes)
        fingerprints = {name: seen["fingerprint"] for name, seen in each.items()}
        return {
            "name": "+".join(each),
            "share": self.share,
            "fingerprint": blake2b(repr(list(fingerprints.values())).encode(), digest_size=8).hexdigest(),
            "patients": self.patients("train").tolist(),
            "folds": [f"{name}:{fold}" for name, seen in each.items() for fold in seen["folds"]],
            "digests": sorted({digest for seen in each.values() for digest in seen["digests"]}),
            "skipped": {
                f"{name}:{record}": why for name, seen in each.items() for record, why in seen["skipped"].items()
            },
            "substituted_leads": dict(sum((Counter(seen["substituted_leads"]) for seen in each.values()), Counter())),
            "fingerprints": fingerprints,
            "shares": dict(zip(each, shares.tolist(), strict=True)),
        }

    def remarks(self) -> list[str]:
        """See `UnlabelledData`; each member's part in the mix, and its own remarks."""
        train, val = self.unlabelled("train").sizes, self.unlabelled("val").sizes
        told = []
        for member, share, windows, held_out in zip(self.members, self._shares(train), train, val, strict=True):
            source = f"{windows} windows from {count_people(member.patients('train'))}; {held_out} for validation"
            told.append(f"{member.name}, {100 * share:.3g} % of the draws: {source}")
            told += [f"{member.name}, {remark}" for remark in member.remarks()]
        return told

    def _shares(self, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        """(M,) part of all draws that is each member's."""
        weights = np.asarray(sizes if self.weights is None else self.weights, np.float64)
        relative = weights / weights.max()  # the sum of the largest floats is none
        shares: NDArray[np.float64] = relative / relative.sum()
        return shares


class MixedWindows(Dataset[RawBatch]):
    """Windows of several data sets, numbered one data set behind the other.

    Args:
        members: the windows of each, of the same length and leads.
    """

    def __init__(self, members: Sequence[UnlabelledWindows]) -> None:
        self.members = members
        self.sizes = np.array([len(windows) for windows in members], np.int64)
        self.first = np.cumsum(self.sizes) - self.sizes

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def __getitem__(self, draw: Draw) -> RawBatch:
        """One batch, in the order drawn: one fancy index for each member that is in it."""
        owner = np.searchsorted(self.first, draw.which, side="right") - 1
        places = {m: np.flatnonzero(owner == m) for m in np.unique(owner).tolist() or [0]}
        parts = [self.members[m][Draw(draw.which[at] - self.first[m], draw.slide[at])] for m, at in places.items()]
        where = [torch.from_numpy(at) for at in places.values()]
        whole = all(part.valid is None for part in parts)
        return RawBatch(
            _put([part.steps for part in parts], where),
            _put([part.scale for part in parts], where),
            None if whole else _put([_valid(part) for part in parts], where),
            torch.from_numpy(draw.which),
            patient=_put([part.patient for part in parts if part.patient is not None], where),
        )


class MixedBatches(Batches):
    """Batches of several data sets, drawn in fixed shares; what epoch e draws depends on the seed and e alone.

    An epoch's share of draws is exact but for a fraction of one, which evens out over the epochs. A member is gone
    through pass after pass, each in an order of its own, from one epoch into the next: at any time the numbers of times
    that two of its windows were drawn differ by at most one.

    Args:
        sizes: (M,) windows of each member.
        shares: (M,) part of the draws that is each member's; their sum is 1.
        batch_size: see `Batches`; the examples are those of the members that have a share.
        seed: of the order.
        at_least: batches an epoch.
    """

    def __init__(
        self, sizes: NDArray[np.int64], shares: NDArray[np.float64], batch_size: int, seed: int = 0, at_least: int = 0
    ) -> None:
        super().__init__(int(sizes[shares > 0].sum()), batch_size, shuffle=True, seed=seed, at_least=at_least)
        self.sizes, self.shares = sizes, shares

    def draw_epoch(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """See `Batches`."""
        counts = self.counts(np.arange(self.epoch + 1))
        done, first = counts[:-1].sum(axis=0), np.cumsum(self.sizes) - self.sizes
        order = np.concatenate([first[m] + self._go_on(m, done[m], counts[-1, m]) for m in range(len(self.sizes))])
        generator = np.random.default_rng((self.seed, self.epoch))
        return generator.permutation(order), generator.random(len(order))

    def counts(self, epochs: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often each member is drawn from in each epoch, (E, M): systematic sampling with a start of its own.

        Args:
            epochs: (E,) their numbers.
        """
        draws = len(self) * self.together
        ends = np.round(draws * np.cumsum(self.shares), 6)  # whole numbers are whole in spite of rounding errors
        start = epochs * GOLDEN % 1
        reached = np.ceil(ends - start[:, None]).astype(np.int64)
        counts: NDArray[np.int64] = np.diff(reached, axis=1, prepend=np.int64(0))
        return counts

    def _go_on(self, m: int, done: int, count: int) -> NDArray[np.int64]:
        """The next `count` windows of a member after the first `done`."""
        size = self.sizes[m]
        first_pass, last_pass = done // size, (done + count - 1) // size
        passes = [np.random.default_rng((self.seed, m, each)).permutation(size)
                  for each in range(first_pass, last_pass + 1)]  # fmt: skip
        begin = done - first_pass * size
        return np.concatenate([np.empty(0, np.int64), *passes])[begin : begin + count]


@contextmanager
def named(member: str) -> Iterator[None]:
    """Say of which member a fault is, and how a key of that member alone is set.

    Args:
        member: its name.
    """
    try:
        yield
    except UserError as error:
        raise UserError(
            f"{member}, one of data.members: {error} (keys of {member} alone: +data.options.{member}.KEY=...)"
        ) from error


def _put(parts: Sequence[Tensor], places: Sequence[Tensor]) -> Tensor:
    """One tensor of the rows of several, each at its place."""
    together = parts[0].new_empty((sum(map(len, parts)), *parts[0].shape[1:]))
    for part, place in zip(parts, places, strict=True):
        together[place.to(part.device)] = part
    return together


def _valid(part: RawBatch) -> Tensor:
    if part.valid is not None:
        return part.valid
    return torch.ones(part.steps.shape[:2], dtype=torch.bool, device=part.steps.device)


def _check_weights(weights: Sequence[float], members: int) -> None:
    given = np.asarray(weights, np.float64)
    if len(given) != members:
        raise UserError(f"data.weights={list(weights)} must be null or one number for each of the {members} members")
    if not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
        raise UserError(f"data.weights={list(weights)} must be numbers, 0 or more, and not all 0")
