"""The floors of the house, and that every class has its yaml and every yaml its class."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, build_training
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.build import build_budget, build_protocol, build_stress
from ecg_lightning.data.taught import Taught
from ecg_lightning.data.unlabelled import UnlabelledData
from ecg_lightning.encoders.base import Encoder
from ecg_lightning.evaluation.robustness.base import Stress
from ecg_lightning.objectives.base import Objective
from ecg_lightning.precheck import check_grid, check_prediction, check_transfer

FLOORS: tuple[set[str], ...] = (
    {"errors", "provenance", "interrupts", "processes", "files", "quiet", "choices", "words"},
    {"job", "faults", "help", "launch"},
    {"hydra_main"},
    {"leads"},
    {"signal", "arguments"},
    {"data", "encoders"},
    {"augment", "readout"},
    {"objectives", "evaluation"},
    {"results"},
    {"reporting"},
    {"tracking", "checkpoint_io"},
    {"callbacks", "learning", "metrics_log", "members", "inheritance"},
    {"build"},
    {"precheck"},
    {"question", "account"},
    {"pretraining", "assessment", "prediction", "adoption"},
    {"grid", "zero_label"},
    {"transfer", "followed"},
    {"sweeps"},
    {"cli"},
)
"""From the ground up; a part imports itself and what lies below, never its neighbours."""

PACKAGE, CONF = PROJECT / "ecg_lightning", PROJECT / "conf"
FILES = sorted(PACKAGE.rglob("*.py"))
COMMANDS = {
    PACKAGE / "data" / "doctor.py",
    *(PACKAGE / "reporting" / f"{name}.py" for name in ("__main__", "dashboard", "gallery", "pictures")),
}
"""Command lines that lie beside what they are about; wherever their file is, they are on the floor of `cli`."""
HEIGHT = {part: height for height, parts in enumerate(FLOORS) for part in parts}


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(path: Path) -> str:
    return "cli" if path in COMMANDS else path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", [path for path in FILES if path != PACKAGE / "__init__.py"], ids=str)
def test_a_file_imports_only_from_floors_below_its_own(path: Path) -> None:
    part = part_of(path)
    assert part in HEIGHT, f"give {part} a floor"
    inside = {name.split(".")[1] for name in imports(path) if name.startswith("ecg_lightning.")}
    assert not {other for other in inside - {part} if HEIGHT[other] >= HEIGHT[part]}


def test_nothing_imports_a_command() -> None:
    commands = [".".join(path.relative_to(PROJECT).with_suffix("").parts) for path in COMMANDS]
    assert not [(path, name) for path in FILES for name in imports(path) if name.startswith(tuple(commands))]


def test_only_build_instantiates() -> None:
    def instantiates(path: Path) -> bool:
        return any(name.startswith("hydra") and name.endswith(("instantiate", "utils")) for name in imports(path))

    assert [path.name for path in [*FILES, *PROJECT.glob("*.py")] if instantiates(path)] == ["build.py"]


def test_no_file_is_a_dumping_ground() -> None:
    names = {part for path in FILES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not names & {"utils", "util", "common", "helpers", "misc", "tools"}


def test_packages_hold_no_logic() -> None:
    for path in FILES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            kinds = {type(node) for node in body if not isinstance(node, ast.Import | ast.ImportFrom)}
            lazy = {ast.Assign, ast.If, ast.FunctionDef} if path.parent == PACKAGE else set()
            assert kinds <= {ast.Expr, *lazy}, path
            assert [node.name for node in body if isinstance(node, ast.FunctionDef)] in ([], ["__getattr__"])


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides))


def case(*groups: str) -> Any:
    return pytest.mark.parametrize(("group", "name"), [(group, name) for group in groups for name in options(group)])


@case("encoder", "objective", "data")
def test_every_choice_of_a_training_can_be_made(group: str, name: str, synthetic_root: Path, tmp_path: Path) -> None:
    there = [f"data.root={synthetic_root / 'ptbxl'}", f"cache_dir={tmp_path}"]
    beside = {"objective": there, "encoder": ["objective=transformation"], "data": []}[group]  # which takes any encoder
    data, objective = build_training(composed("train", f"{group}={name}", *beside))
    assert data.name == (name if group == "data" else "ptbxl")
    assert objective.encoder.spec == data.spec


@case("trainer", "logger", "optimizer")
def test_every_other_choice_of_a_training_composes(group: str, name: str) -> None:
    assert composed("train", f"{group}={name}")[group]


@case("protocol", "budget", "data", "robustness")
def test_every_choice_of_an_evaluation_can_be_made(group: str, name: str) -> None:
    config = composed("evaluate", f"{group}='{name}'")
    assert build_budget(config.budget).name
    if config.protocol.name == "predict":
        check_prediction(composed("evaluate", f"{group}='{name}'", "checkpoint=encoder.pt"))
    elif config.protocol.name == "all":
        check_grid(composed("evaluate", f"{group}='{name}'"))
    elif config.protocol.name == "transfer":
        check_transfer(composed("evaluate", f"{group}='{name}'"))
    else:
        assert callable(build_protocol(config.protocol.method).fit)
        assert group != "robustness" or build_stress(config.robustness).name == name
        assert set(config.protocol.beside) <= set(config.beside), "a baseline that the sweep cannot find"
    assert group != "protocol" or config.protocol.name == name


def command_of(group: str, name: str) -> str:
    """Which of the two commands a recipe is for: an experiment trains, a sweep says it in its first words."""
    if group == "experiment":
        return "train"
    found = re.match(r"# @package _global_\n# (train|evaluate)\.py: ", (CONF / group / f"{name}.yaml").read_text())
    assert found, f"conf/{group}/{name}.yaml does not begin with the command that it is for"
    return found[1]


@pytest.mark.parametrize("group", ["experiment", "sweep"])
def test_every_recipe_composes(group: str) -> None:
    for name in options(group):
        assert composed(command_of(group, name), f"+{group}={name}")


def test_the_command_line_wins_over_the_encoder_that_an_objective_brings() -> None:
    for objective in options("objective"):
        own = composed("train", f"objective={objective}").encoder
        assert own == OmegaConf.load(CONF / "encoder" / f"{default_encoder(objective)}.yaml")
        assert composed("train", f"objective={objective}", "encoder=vit_base").encoder.dim == 768


def default_encoder(objective: str) -> str:
    defaults = OmegaConf.load(CONF / "objective" / f"{objective}.yaml").defaults
    return str(next(entry["override /encoder"] for entry in defaults if "override /encoder" in entry))


def classes(part: str) -> Iterator[type]:
    """Every class that a part defines."""
    package = import_module(f"ecg_lightning.{part}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            found = inspect.getmembers(import_module(module.name), inspect.isclass)
            yield from (each for _, each in found if each.__module__ == module.name)


def is_protocol(kind: type) -> bool:
    """Not by name: by a `fit` that takes a cell."""
    fit = getattr(kind, "fit", None)
    return fit is not None and "cell" in inspect.signature(fit).parameters and "Protocol" not in kind.__name__


def targets(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        yield from ([content["_target_"]] if "_target_" in content else [])
        for value in content.values():
            yield from targets(value)


@pytest.mark.parametrize(
    ("part", "group", "belongs"),
    [
        ("encoders", "encoder", lambda kind: issubclass(kind, Encoder)),
        ("objectives", "objective", lambda kind: issubclass(kind, Objective)),
        ("data", "data", lambda kind: issubclass(kind, UnlabelledData) and kind is not Taught),  # wraps any of them
        ("evaluation", "protocol", is_protocol),
        ("evaluation", "robustness", lambda kind: issubclass(kind, Stress)),
    ],
)
def test_every_concrete_class_has_a_yaml(part: str, group: str, belongs: Any) -> None:
    concrete = {f"{kind.__module__}.{kind.__name__}" for kind in classes(part) if belongs(kind) and not abstract(kind)}
    yamls = [OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml")) for name in options(group)]
    named = {target for yaml in yamls for target in targets(yaml)}
    assert concrete and concrete <= named


def abstract(kind: type) -> bool:
    """Whether a method is left for others to write; `nn.Module` keeps `inspect.isabstract` from knowing."""
    members = (getattr(kind, name, None) for name in dir(kind))
    return any(getattr(member, "__isabstractmethod__", False) for member in members)
