"""Which classes of one data set mean what a class of another means: stated in a file, checked, and applied."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from ecg_lightning.errors import UserError
from ecg_lightning.evaluation.cell import Probability

KEYS = ("source", "learn_from", "classes")

JOINT = "|"
"""Between the names of diagnoses that a data set counts as one class, as in `CRBBB|RBBB`."""


@dataclass(frozen=True)
class LabelMap:
    """What a file states, from a data set A, whose labels are learned, to a data set B, whose classes are judged.

    Attributes:
        path: the file.
        source: who says so.
        learn_from: keys of A's configuration under which its classes have these names.
        classes: class of B to the classes of A that mean the same; a joint class, `CRBBB|RBBB`, has the meaning of
            every entry that names one of its diagnoses.
    """

    path: Path
    source: str
    learn_from: Mapping[str, Any]
    classes: Mapping[str, Sequence[str]]

    def check(self, a: Collection[str], b: Collection[str]) -> None:
        """Compare the names with those that there are.

        Args:
            a: every name that a class of A may have.
            b: every name that a class of B may have.

        Raises:
            UserError: a name is none of them.
        """
        for name, meant in self.classes.items():
            for named, key, known in ((name, "classes", b), *((each, f"classes.{name}", a) for each in meant)):
                if not any(_same(named, each) for each in known):
                    raise UserError(
                        f"{self.path}: {key} names {named}, which is no class of the data set; its classes are "
                        f"{', '.join(sorted(known))}"
                    )

    def between(self, a: Sequence[str], b: Sequence[str]) -> Correspondence:
        """What the map says of two data sets.

        Args:
            a: classes of A that there are labels to learn from.
            b: classes of B.

        Raises:
            UserError: no class of B has a meaning in A.
        """
        found: dict[str, tuple[str, ...]] = {}
        left_out: dict[str, str] = {}
        for name in b:
            meant = [each for key, of in self.classes.items() if _same(key, name) for each in of]
            there = tuple(each for each in a if any(_same(each, one) for one in meant))
            if there:
                found[name] = there
            else:
                left_out[name] = f"nobody to learn {' or '.join(meant)} from" if meant else "not in the map"
        if not found:
            why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise UserError(f"{self.path}: classes covers no class of the data set ({why}); use another map, or "
                            "protocol.map=null")  # fmt: skip
        return Correspondence(found, left_out)


@dataclass(frozen=True)
class Correspondence:
    """The classes of a data set B that have a meaning in A.

    Attributes:
        meant: class of B to the classes of A that mean the same, in B's order.
        left_out: every other class of B to the reason.
    """

    meant: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, str]

    def translate(self, p_NA: Probability, a: Sequence[str], multi_label: bool) -> Probability:
        """Probabilities of A's classes as those of the covered classes of B.

        Several classes of A that mean one of B count together: exclusive ones add up; of others the most probable
        decides, which is the least that the probability of any of them can be.

        Args:
            p_NA: (N, A).
            a: the A names.
            multi_label: whether A's classes do not exclude one another.

        Returns:
            (N, B), columns in the order of `meant`.
        """
        join = np.max if multi_label else np.sum
        place = {name: number for number, name in enumerate(a)}
        columns = [join(p_NA[:, [place[each] for each in of]], axis=1) for of in self.meant.values()]
        return np.stack(columns, axis=1)


def read_label_map(path: Path) -> LabelMap:
    """Read a map.

    Args:
        path: a yaml file of `source`, `learn_from` and `classes`, see `LabelMap`.

    Raises:
        UserError: the file cannot be read, or is no map.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as a map of labels ({error})") from error
    if not isinstance(content, dict) or set(content) != set(KEYS):
        raise UserError(f"{path}: a map of labels has the keys {', '.join(KEYS)} and no other")
    source, learn_from, classes = (content[key] for key in KEYS)
    if not isinstance(source, str) or not isinstance(learn_from, dict):
        raise UserError(f"{path}: source must be text, and learn_from keys of a data set, such as task: all, or {{}}")
    if not isinstance(classes, dict) or not classes or not all(map(_is_entry, classes.items())):
        raise UserError(f"{path}: classes must hold entries such as AF: [AFIB], each with one class or more")
    return LabelMap(path, source, learn_from, classes)


def _is_entry(entry: Iterable[Any]) -> bool:
    name, meant = entry
    return isinstance(name, str) and isinstance(meant, list) and bool(meant) and all(isinstance(a, str) for a in meant)


def _same(first: str, second: str) -> bool:
    """Whether two classes have a diagnosis in common."""
    return not set(first.split(JOINT)).isdisjoint(second.split(JOINT))
