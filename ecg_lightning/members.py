"""From the names of a mix's members to their configurations, which lie in `conf/data/` like any other choice."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.choices import CONF
from ecg_lightning.errors import UserError


def member_configs(config: Mapping[str, Any]) -> dict[str, DictConfig]:
    """The configuration of each member, by name.

    What a mix and a member both have a key for is the mix's to say; the rest is the member's own, or in
    `data.options`.

    Args:
        config: of the mix, in plain containers.

    Raises:
        UserError: a name or an option is none.
    """
    names, options = config["members"], config["options"] or {}
    with _hydra():
        choices = GlobalHydra.instance().config_loader().get_group_options("data")
        _check_names(names, [name for name in choices if name != config["name"]])
        _check_options(names, options)
        return {name: _member(name, config, options.get(name) or {}) for name in names}


def _hydra() -> AbstractContextManager[Any]:
    """The running job's Hydra, which knows the folders it was given, or one that knows `conf/`."""
    running = GlobalHydra.instance().is_initialized()
    return nullcontext() if running else initialize_config_dir(str(CONF), version_base="1.3")


def _check_names(names: Any, choices: list[str]) -> None:
    example = "a list such as [ptbxl,mitbih]"
    if not isinstance(names, list) or not names:
        raise UserError(f"data.members={names!r} must be {example}")
    for name in names:
        if name not in choices:
            raise UserError(f"data.members: {name!r} is no data set to mix; choices are {', '.join(choices)}")
        if names.count(name) > 1:
            raise UserError(f"data.members names {name} twice; data.weights says how often each is drawn from")


def _check_options(names: list[str], options: Any) -> None:
    if not isinstance(options, Mapping) or not all(isinstance(own or {}, Mapping) for own in options.values()):
        raise UserError(f"data.options={options!r} must be keys by member, as in +data.options.ptbxl.root=DIR")
    for name in options:
        if name not in names:
            raise UserError(f"data.options.{name}: {name} is not one of data.members={names}")


def _member(name: str, mix: Mapping[str, Any], options: Mapping[str, Any]) -> DictConfig:
    try:
        chosen = compose("train", [f"data='{name}'"]).data
    except HydraException as error:
        raise UserError(f"data.members: {name} cannot be composed: {error}") from error
    member: Any = OmegaConf.to_container(chosen, resolve=True)
    if "members" in member:
        raise UserError(f"data.members: {name} is itself a mix; name its members")
    own = [key for key in member if key not in mix]
    for key in options:
        if key in mix:
            raise UserError(f"data.options.{name}.{key}: all members share data.{key}")
        if key not in own:
            raise UserError(f"data.options.{name}.{key}: {name} has no such key; its own are {', '.join(own)}")
    shared = {key: mix[key] for key in member if key in mix and key not in ("_target_", "name", "spec")}
    return OmegaConf.create({**member, **shared, **options})
