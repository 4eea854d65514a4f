"""Weights of other projects' encoders: read without running their code, and taken over name by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ecg_lightning.encoders.base import Encoder
from ecg_lightning.encoders.checkpoint import read_plain
from ecg_lightning.encoders.layouts import LAYOUTS, rename
from ecg_lightning.errors import UserError

Weights = Mapping[str, Tensor]


class Adoption(NamedTuple):
    """What an encoder took over.

    Attributes:
        layout: whose names the file's are, a key of `LAYOUTS`.
        names: those of the encoder's weights, and what each is called in the file.
        left: what the file holds besides: projectors, classifiers, another network's copy.
    """

    layout: str
    names: Mapping[str, str]
    left: tuple[str, ...]

    def __str__(self) -> str:
        pairs = [f"{here} <- {there}" for here, there in self.names.items()]
        taken = f"{len(self.names)} weights taken over ({_few(pairs)}), by {self.layout}"
        return f"{taken}; left: {_few(self._parts_left())}" if self.left else taken

    def _parts_left(self) -> list[str]:
        """The largest parts of the file of which nothing was taken, with how many weights are in each."""
        touched = {part for name in self.names.values() for part in accumulate(name.split("."), "{}.{}".format)}
        counts = Counter(
            next(part for part in accumulate(name.split("."), "{}.{}".format) if part not in touched)
            for name in self.left
        )
        return [f"{part} ({count})" for part, count in counts.items()]


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Every tensor of a file of `torch.save`, however nested: its name is the path to it, as in `model.encoder.weight`.

    Raises:
        UserError: the file cannot be read, or holds no weights, or more than plain containers and tensors.
    """
    path = Path(path)
    content = read_plain(path)
    weights = dict(_tensors(content, ""))
    if not weights:
        what = "holds code or is broken" if content is None else "holds no weights"
        raise UserError(f"{path}: {what}; save the bare weights, a state_dict, with the project that wrote it")
    return weights


def adopt(encoder: Encoder, weights: Weights, source: str, part: str | None = None) -> Adoption:
    """Give an encoder weights of a file, all of its own and nothing else.

    Args:
        encoder: its weights are replaced, or none of them.
        weights: see `read_weights`.
        source: of the weights, for messages.
        part: take only what lies below this name in the file; None finds out.

    Raises:
        UserError: weights are missing, of another shape or too many, or two parts of the file fit and differ.
    """
    if part is not None:
        weights = {name: value for name, value in weights.items() if name.startswith(f"{part}.")}
        if not weights:
            raise UserError(f"{source}: nothing in it lies below part={part}")
    fits = [_Fit(encoder.state_dict(), weights, layout) for layout in LAYOUTS]
    best = max(fits, key=lambda fit: fit.merit)
    best.check(source, type(encoder).__name__)
    encoder.load_state_dict(best.state(), strict=True)
    left = tuple(name for name in weights if name not in best.used)
    return Adoption(best.layout, best.names, left)


class _Fit:
    """How the names of a file fit those of an encoder, by one layout and behind the likeliest prefix."""

    def __init__(self, own: Weights, weights: Weights, layout: str) -> None:
        self.own, self.weights, self.layout = own, weights, layout
        self.renamed = {name: rename(name, LAYOUTS[layout]) for name in weights}
        counts = Counter(prefix for name in set(self.renamed.values()) for prefix in _prefixes(name, own))
        most = max(counts.values(), default=0)
        self.prefixes = sorted((prefix for prefix, count in counts.items() if count == most), key=len)
        self.names, self.biases, self.surplus, self.used = self._match(self.prefixes[0] if self.prefixes else "")
        self.missing = [here for here in own if here not in self.names]
        self.misshapen = [here for here, there in self.names.items() if own[here].shape != weights[there].shape]
        self.merit = len(self.names) - len(self.misshapen) - len(self.surplus)

    def check(self, source: str, encoder: str) -> None:
        """Refuse, in one sentence, what does not fit from end to end."""
        if not self.names:
            raise UserError(f"{source}: none of its weights ({_few(list(self.weights))}) has a name of {encoder}'s "
                            f"({_few(list(self.own))}); choose the encoder that it was made with")  # fmt: skip
        shapes = [f"{here} {_shape(self.own[here])} here, {_shape(self.weights[self.names[here]])} there"
                  for here in self.misshapen]  # fmt: skip
        wrong = (("missing", self.missing), ("of another shape", shapes), ("too many", self.surplus))
        told = [f"{len(names)} {how} ({_few(names)})" for how, names in wrong if names]
        if told:
            raise UserError(f"{source} does not fit {encoder}: of {len(self.own)} weights {', '.join(told)}; choose "
                            "encoder=..., its sizes and the leads as the file's were")  # fmt: skip
        rivals = [prefix for prefix in self.prefixes[1:] if not self._same(prefix)]
        if rivals:
            parts = ", ".join(prefix.rstrip(".") or "(the top)" for prefix in (self.prefixes[0], *rivals))
            raise UserError(f"{source} holds several encoders that fit: {parts}; choose one with part=NAME of adopt.py")

    def state(self) -> dict[str, Tensor]:
        """The encoder's weights; a bias that its norm takes away again lies in the mean that the norm subtracts."""
        state = {here: self.weights[there] for here, there in self.names.items()}
        return state | {mean: state[mean] - self.weights[bias] for mean, bias in self.biases.items()}

    def _match(self, prefix: str) -> tuple[dict[str, str], dict[str, str], list[str], set[str]]:
        """Match what lies behind a prefix.

        Returns:
            Names there by those here, names of convolutions' biases by that of the mean of the norm behind each, names
            in the encoder's own modules that it lacks, and all that are accounted for.
        """
        modules = {here.split(".")[0] for here in self.own}
        names: dict[str, str] = {}
        biases: dict[str, str] = {}
        surplus, used = [], set()
        for there, renamed in self.renamed.items():
            here = renamed.removeprefix(prefix)
            if not renamed.startswith(prefix):
                continue
            if here in self.own:
                names.setdefault(here, there)
                used.add(there)
            elif (mean := re.sub(r"\.convolution\.bias$", ".norm.running_mean", here)) in self.own:
                biases[mean] = there
                used.add(there)
            elif here.split(".")[0] in modules:
                surplus.append(there)
        return {here: names[here] for here in self.own if here in names}, biases, surplus, used

    def _same(self, prefix: str) -> bool:
        """Whether the weights behind another prefix are the same."""
        names, _, _, _ = self._match(prefix)
        return all(torch.equal(self.weights[names[here]], self.weights[there]) for here, there in self.names.items())


def _tensors(content: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield path, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _tensors(value, f"{path}.{key}" if path else str(key))


def _prefixes(name: str, own: Weights) -> Iterator[str]:
    """What stands before each ending of a name that is a name of the encoder's."""
    places = [0, *(i + 1 for i, letter in enumerate(name) if letter == ".")]
    yield from (name[:place] for place in places if name[place:] in own)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
