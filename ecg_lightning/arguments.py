"""Whether the values of a configuration are what a class asks for: told by name, before anything is made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as AbstractSequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ecg_lightning.errors import UserError

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "text", NoneType: "null"}
"""What a value of each plain type is called; of any other type a configuration holds no values."""


def check_arguments(target: Callable[..., Any], values: Mapping[str, Any], group: str) -> None:
    """Compare the values meant for a class or function with its annotations.

    Args:
        target: a class or function; arguments that a class hands on (`**base`) are looked up in its bases.
        values: by argument; plain ones are judged, all others left to the target.
        group: of the configuration that the values come from.

    Raises:
        UserError: a value is of another type; the message names its key.
    """
    hints = dict(_annotations(target))
    for key, value in values.items():
        if key in hints and not fits(value, hints[key]):
            raise UserError(f"{group}.{key}={value!r} must be {' or '.join(dict.fromkeys(_describe(hints[key])))}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value may be given where `hint` is asked for."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(value, Mapping):
        return True
    if origin in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if origin in (list, tuple, AbstractSequence):
        return isinstance(value, list | tuple) and _fit_in(value, origin, inner)
    if hint not in NAMES:
        return not isinstance(hint, type) or isinstance(value, hint)
    plain = {float: (int, float), Path: (str, Path)}.get(hint, hint)
    return isinstance(value, plain) and (hint is bool or not isinstance(value, bool))


def _fit_in(values: AbstractSequence[Any], origin: Any, inner: tuple[Any, ...]) -> bool:
    """Whether the members of a list fit: each to its own type in a tuple of a stated length, else all to one."""
    if origin is tuple and Ellipsis not in inner:
        return len(values) == len(inner) and all(map(fits, values, inner))
    return all(fits(value, inner[0]) for value in values)


def _describe(hint: Any) -> Iterator[str]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for each in inner:
            yield from _describe(each)
    elif origin is Literal:
        yield from map(str, inner)
    elif origin is tuple and Ellipsis not in inner:
        yield f"a list of {len(inner)}"
    elif origin in (list, tuple, AbstractSequence):
        yield f"a list of {' or '.join(_describe(inner[0]))}"
    elif hint in NAMES:
        yield NAMES[hint]


def _annotations(target: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Argument and type; for a class also those of the bases that it hands further arguments to."""
    makers = [vars(each)["__init__"] for each in target.__mro__ if "__init__" in vars(each)] \
        if isinstance(target, type) else [target]  # fmt: skip
    seen: set[str] = set()
    for maker in makers:
        parameters = inspect.signature(maker).parameters.values()
        hints = _hints(maker)
        for parameter in parameters:
            plain = parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
            if plain and parameter.name in hints and parameter.name not in seen:
                seen.add(parameter.name)
                yield parameter.name, hints[parameter.name]
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return


def _hints(maker: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(maker)
    except (NameError, TypeError):  # names that only a type checker imports
        stated = inspect.get_annotations(maker).items()
        return {key: hint for key, hint in stated if not isinstance(hint, str)}
