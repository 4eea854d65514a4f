"""Many jobs of one command: the grid, its time, its progress, and jobs side by side by Ray."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import slurm_stand_in
from conftest import PROJECT
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ecg_lightning.encoders.checkpoint import read_checkpoint
from ecg_lightning.job import Job, JobNote, JobRecord, records
from ecg_lightning.sweeps.grid import first_of, grid_of
from ecg_lightning.sweeps.history import Guess, Past, guess, history, in_words, said, total
from ecg_lightning.sweeps.parallel import jobs_at_once
from ecg_lightning.sweeps.progress import line, state_of
from ecg_lightning.words import expand_pattern, name_sweep

Tiny = Callable[..., list[str]]
Command = Callable[..., subprocess.CompletedProcess[str]]

BASIC: Any = OmegaConf.create({"params": None})


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.integers(0, 30), min_size=1, max_size=4, unique=True), min_size=1
    )
)
def test_a_grid_is_the_product_of_its_axes(axes: dict[str, list[int]]) -> None:
    grid = grid_of(BASIC, [f"{key}={','.join(map(str, values))}" for key, values in axes.items()])
    product = {
        tuple(f"{key}={value}" for key, value in zip(axes, job, strict=True))
        for job in itertools.product(*axes.values())
    }
    assert grid.jobs is not None and set(grid.jobs) == product and grid.size == len(product) == len(grid.jobs)
    several = {key: tuple(map(str, values)) for key, values in axes.items() if len(values) > 1}
    assert grid.axes == several


def test_the_command_line_wins_over_the_sweep_file() -> None:
    sweeper: Any = OmegaConf.create({"params": {"seed": "range(0,5)", "budget": "'10','25'"}})
    grid = grid_of(sweeper, ["seed=7", "data=mitbih"])
    assert grid.jobs == (("seed=7", "budget='10'", "data=mitbih"), ("seed=7", "budget='25'", "data=mitbih"))
    assert grid_of(sweeper, []).lines() == ["  seed    0 to 4", "  budget  10, 25"]
    assert first_of(["seed=range(3,5)", "budget='10','25'", "data=mitbih"]) == ["seed=3", "budget='10'", "data=mitbih"]


def test_a_sweep_is_known_by_its_question_not_by_how_it_is_run() -> None:
    def folder(*words: str) -> str:
        return next(word for word in name_sweep("evaluate", list(words)) if word.startswith("hydra.sweep.dir="))

    asked = folder("-m", "seed=0,1", "+sweep=fewshot")
    assert asked.startswith(f"hydra.sweep.dir='{Path.cwd()}/runs/sweeps/fewshot-")
    assert folder("+sweep=fewshot", "seed=0,1", "hydra/launcher=ray_cpu", "cache_dir=x", "--cfg", "job") == asked
    assert folder("+sweep=fewshot", "seed=0,2") != asked


def test_a_pattern_of_checkpoints_names_each_of_them(tmp_path: Path) -> None:
    for name in ("a", "b c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "encoder.pt").touch()
    (word,) = expand_pattern([f"checkpoint={tmp_path}/*/encoder.pt"], "checkpoint")
    grid = grid_of(BASIC, [word])
    assert grid.axes == {"checkpoint": (f"{tmp_path}/a/encoder.pt", f"{tmp_path}/b c/encoder.pt")}
    nowhere = ["checkpoint=nowhere/*/encoder.pt", "seed=0"]
    assert expand_pattern(nowhere, "checkpoint") == nowhere


def note(sweep: Path, number: int, *words: str) -> JobNote:
    return JobNote(Job("evaluate", sweep, number, words))


def test_records_say_what_became_of_each_job(tmp_path: Path) -> None:
    note(tmp_path, 0, "seed=0").done(None)
    note(tmp_path, 1, "seed=1").failed("error: no")
    note(tmp_path, 10, "seed=10")
    (tmp_path / "jobs" / "11").mkdir()
    (tmp_path / "jobs" / "11" / "job.json").write_text("{}")
    found = list(records(tmp_path))
    assert [(each.number, each.status, each.error) for each in found] == [
        (0, "done", None), (1, "failed", "error: no"), (10, "running", None)]  # fmt: skip
    assert [each.is_alive for each in found] == [False, False, True]


def test_a_job_whose_process_is_gone_is_not_alive(tmp_path: Path) -> None:
    note(tmp_path, 0)
    (record,) = records(tmp_path)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert not replace(record, process=gone.pid).is_alive
    assert replace(record, process=gone.pid, host="another").is_alive, "nobody here can tell"


def test_a_job_that_finds_its_work_done_keeps_the_time_that_it_took(tmp_path: Path) -> None:
    made = tmp_path / "encoder.pt"
    work = note(tmp_path, 0)
    time.sleep(0.05)
    made.touch()
    work.done(str(made))
    (first,) = records(tmp_path)
    assert first.ended is not None and first.ended - first.began >= 0.05
    time.sleep(0.02)
    note(tmp_path, 0).done(str(made))
    (again,) = records(tmp_path)
    assert (again.began, again.ended) == (first.began, first.ended) and again.noted > first.noted
    note(tmp_path, 1).done(str(made))
    assert list(records(tmp_path))[1].ended is None, "nobody timed it"


def test_the_time_of_a_job_is_that_of_the_most_alike() -> None:
    past = [Past("evaluate", frozenset({"protocol=linear", "budget=10"}), 2.0),
            Past("evaluate", frozenset({"protocol=linear", "budget=100"}), 4.0),
            Past("evaluate", frozenset({"protocol=scratch", "budget=10"}), 60.0),
            Past("train", frozenset({"protocol=scratch", "budget=25"}), 999.0)]  # fmt: skip
    assert guess("evaluate", ["protocol=linear", "budget=10", "seed=3"], past) == (2.0, True)
    assert guess("evaluate", ["protocol=linear", "budget=25"], past) == (3.0, True)
    assert guess("evaluate", ["protocol=scratch", "budget=100"], past) == (60.0, True), "not the linear probe's"
    assert guess("evaluate", ["protocol=finetune", "budget=100"], past) == (4.0, False)
    assert guess("adopt", [], past) is None
    unsure, sure = Guess(3.0, False), Guess(5.0, True)
    assert total([unsure, sure], 2) == (4.0, False) and total([sure, sure], 2) == (5.0, True)
    assert total([None, sure], 1) is None
    assert (said(unsure), said(sure)) == ("perhaps 3 s", "about 5 s")


def test_a_length_of_time_is_said_as_one_says_it() -> None:
    words = {3: "3 s", 89: "89 s", 90: "1.5 min", 3600: "60 min", 36000: "10 h", 200000: "2.3 d"}
    assert {seconds: in_words(seconds) for seconds in words} == words


def test_the_line_counts_this_start_and_estimates_the_rest(tmp_path: Path) -> None:
    sweep = tmp_path / "few"
    grid = grid_of(BASIC, ["protocol=linear", "seed=range(0,5)"])
    note(sweep, 4, "seed=4").done(None)  # of an earlier start
    since = time.time()
    time.sleep(0.02)
    work = note(sweep, 0, "protocol=linear", "seed=0")
    time.sleep(0.1)
    work.done(None)
    note(sweep, 1, "protocol=linear", "seed=1").failed("error: no")
    note(sweep, 2, "protocol=linear", "seed=2")
    state = state_of(sweep, "evaluate", grid, 2, since, [])
    assert (state.done, state.running, state.failed, state.left) == (1, 1, 1, 2)
    took = next(past.seconds for past in history(tmp_path) if past.seconds > 0.05)
    assert state.time is not None and state.time.sure
    assert state.time.seconds == pytest.approx(3 * took / 2, abs=0.05), "three to come, two at once"
    assert line("few", state).startswith("few: 1 done, 1 running, 1 failed, 2 left; about 0 s to go")
    unknown = state_of(tmp_path / "other", "train", grid, 1, since, history(tmp_path))
    assert line("other", unknown) == "other: 0 done, 0 running, 0 failed, 5 left"


def test_how_many_jobs_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def launcher(name: str, **remote: float) -> int | None:
        from hydra import compose, initialize_config_dir

        words = [
            f"hydra/launcher={name}",
            *(f"hydra.launcher.ray.remote.{key}={value}" for key, value in remote.items()),
        ]
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
            return jobs_at_once(compose("evaluate", words, return_hydra_config=True).hydra.launcher)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert launcher("basic") == 1
    assert launcher("ray_cpu") == 8 and launcher("ray_cpu", num_cpus=3) == 2
    assert launcher("ray_gpu") == 2 and launcher("ray_gpu_share") == 8
    assert launcher("ray_cluster") is None and launcher("slurm") is None


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs a script of the project in an empty folder."""

    def start(script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            key: value for key, value in os.environ.items() if key not in ("ECG_DATA_ROOT", "OMP_NUM_THREADS")
        }
        line = [sys.executable, str(PROJECT / script), *arguments]
        return subprocess.run(
            line, check=False, cwd=tmp_path, env=environment | more, capture_output=True, text=True, timeout=200
        )

    return start


def test_a_dry_run_tells_the_grid_and_does_nothing(command: Command, tmp_path: Path) -> None:
    words = ["+sweep=fewshot", "checkpoint=none.pt", "data=synthetic", "seed=0,1"]
    told = command("evaluate.py", *words, "--dry-run")
    assert told.returncode == 0 and not told.stderr
    assert "24 jobs, 1 at once" in told.stdout and "protocol  linear, finetune, scratch" in told.stdout
    assert "time one: python evaluate.py -m protocol=linear budget='10' seed=0" in told.stdout
    assert not list(tmp_path.iterdir())
    config = command("evaluate.py", *words, "--cfg", "job")
    assert OmegaConf.create(config.stdout).checkpoint == "none.pt"
    assert [line for line in config.stdout.splitlines() if line[0] == "#"] == [
        f"# {line}" for line in told.stdout.splitlines()
    ]
    wrong = command("evaluate.py", *words, "protocol=linear,foo", "--dry-run")
    assert wrong.returncode == 2 and "protocol/foo" in wrong.stderr and wrong.stderr.count("\n") == 1


def results(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("result.json")}


@pytest.fixture
def sweep(tiny: Tiny, finished_run: Path) -> list[str]:
    """Words of a sweep over two seeds of few-shot cells, but for the protocol and the budget."""
    where = [word for word in tiny("synthetic") if word.startswith(("data", "cache_dir"))]
    return ["-m", *where, f"checkpoint={finished_run / 'encoder.pt'}", "resamples=20", "seed=0,1"]


def test_two_workers_of_ray_do_what_one_process_does(command: Command, sweep: list[str], tmp_path: Path) -> None:
    """Each job has a core, a GPU and a thread to itself; one that fails does not end the others."""
    asked = [*sweep, "protocol=random_encoder"]
    there = ["+hydra.launcher.ray.init.num_gpus=2", "+hydra.launcher.ray.init.num_cpus=2"]
    gpus = ["hydra/launcher=ray_gpu_share", "hydra.launcher.ray.remote.num_gpus=1", *there]
    side_by_side = command("evaluate.py", *asked, "budget=10,100", f"results_dir={tmp_path / 'ray'}", *gpus)
    assert side_by_side.returncode == 1 and "Traceback" not in side_by_side.stderr, side_by_side.stderr
    assert side_by_side.stderr.count("error: budget=100 asks for more than the") == 1
    assert "2 done, 0 running, 2 failed, 0 left" in side_by_side.stderr and "2 jobs failed" in side_by_side.stderr
    noted = list(records(next((tmp_path / "runs" / "sweeps").iterdir())))
    assert [each.status for each in noted] == ["done", "failed", "done", "failed"]
    assert {each.devices for each in noted} == {"0", "1"}, "each job sees one device"
    assert len({each.process for each in noted}) == 2
    assert "accuracy" in next((tmp_path / "runs" / "sweeps").glob("*/jobs/0/job.log")).read_text()

    alone = command("evaluate.py", *asked, "budget=10", f"results_dir={tmp_path / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    ours = {name: each for name, each in results(tmp_path / "ray").items() if each["status"] == "done"}
    theirs = results(tmp_path / "alone")
    assert ours.keys() == theirs.keys() and len(ours) == 2
    for name, each in ours.items():
        assert each["device"].endswith(" 1 threads")
        assert each["metrics"]["macro_auroc"]["value"] == pytest.approx(
            theirs[name]["metrics"]["macro_auroc"]["value"], abs=1e-6
        )


def test_slurm_is_asked_for_a_gpu_and_cores_for_each_job(command: Command, sweep: list[str], tmp_path: Path) -> None:
    asked = [*sweep, "protocol=classical", "budget=10"]
    slurm = ["hydra/launcher=slurm", "hydra.launcher.partition=gpus", "hydra.launcher.array_parallelism=2"]
    path = slurm_stand_in.install(tmp_path / "bin")
    ended = command("evaluate.py", *asked, f"results_dir={tmp_path / 'out'}", *slurm, PATH=path)
    assert ended.returncode == 0, ended.stderr
    assert "2 done, 0 running, 0 failed, 0 left" in ended.stderr
    wanted = {"gpus-per-node": "1", "cpus-per-task": "4", "mem": "32GB", "time": "720", "partition": "gpus",
              "ntasks-per-node": "1", "nodes": "1", "array": "0-1%2"}  # fmt: skip
    assert wanted.items() <= slurm_stand_in.asked(tmp_path / "bin").items()
    noted = list(records(next((tmp_path / "runs" / "sweeps").iterdir())))
    assert [each.devices for each in noted] == ["0", "1"] and len(results(tmp_path / "out")) == 2


class StandInRay:
    """Notes what the launcher asks of Ray, and runs nothing."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.wanted: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return False

    def init(self, **words: Any) -> None:
        self.started = words

    def remote(self, **words: Any) -> Callable[..., Any]:
        self.wanted = words
        return lambda _: SimpleNamespace(remote=lambda **_: None)

    def get(self, reference: Any) -> Any:
        return reference


@pytest.mark.parametrize(
    ("name", "gpus", "address"),
    [("ray_cpu", 0, None), ("ray_gpu", 1, None), ("ray_gpu_share", 0.25, None), ("ray_cluster", 1, "head:6379")],
)
def test_what_ray_is_asked_for(name: str, gpus: float, address: str | None, tmp_path: Path, monkeypatch: Any) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.utils import instantiate
    from hydra_plugins.hydra_ray_launcher import _core, _launcher_util

    ray = StandInRay()
    monkeypatch.setattr(_core, "ray", ray)
    monkeypatch.setattr(_launcher_util, "ray", ray)
    words = [f"hydra/launcher={name}", f"hydra.sweep.dir={tmp_path}", "hydra.mode=MULTIRUN"]
    words += [f"hydra.launcher.ray.init.address={address}"] if address else []
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("evaluate", words, return_hydra_config=True)
        launcher = instantiate(config.hydra.launcher)
        context = SimpleNamespace(config_loader=GlobalHydra.instance().config_loader())
        launcher.setup(hydra_context=context, task_function=print, config=config)
        launcher.launch([["seed=1"]], 0)
    assert (ray.wanted["num_gpus"], ray.wanted["num_cpus"], ray.wanted["max_retries"]) == (gpus, 1, 3)
    assert ray.started["address"] == address
    memory = ray.started["object_store_memory"]
    assert (memory is None) == (address is not None), "a cluster that runs refuses to be told"


def test_a_search_goes_by_the_validation_patients_and_finds_its_trials_again(
    command: Command, tiny: Tiny, tmp_path: Path
) -> None:
    asked = ["+sweep=search", *tiny("synthetic"), "trainer.max_epochs=1", "hydra.sweeper.n_trials=2"]
    searched = command("train.py", *asked)
    assert searched.returncode == 0, searched.stderr
    assert "2 done, 0 running, 0 failed, 0 left" in searched.stderr
    (sweep,) = (tmp_path / "runs" / "sweeps").iterdir()
    told: Any = OmegaConf.load(sweep / "optimization_results.yaml")
    encoders = [Path(str(each.made)) for each in records(sweep)]
    figures = [read_checkpoint(tmp_path / path).training["metrics"]["val/probe_auroc"] for path in encoders]
    assert len(set(encoders)) == 2 and told.best_value == max(figures)

    written = {path: (tmp_path / path).stat().st_mtime_ns for path in encoders}
    again = command("train.py", *asked)
    assert again.returncode == 0 and again.stderr.count("this run is finished") == 2, again.stderr
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in encoders} == written


@pytest.mark.kill
def test_a_worker_of_ray_that_dies_is_replaced_and_its_job_goes_on(tiny: Tiny, tmp_path: Path) -> None:
    words = [*tiny("synthetic"), "trainer.max_epochs=40", "seed=0,1", "hydra/launcher=ray_cpu"]
    line = [sys.executable, str(PROJECT / "train.py"), "-m", *words]
    with subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as sweep:
        victim = wait_for_a_worker(tmp_path)
        os.kill(victim.process, signal.SIGKILL)
        told = sweep.communicate(timeout=250)[1]
    assert sweep.returncode == 0 and "2 done, 0 running, 0 failed, 0 left" in told, told
    noted = list(records(next((tmp_path / "runs" / "sweeps").iterdir())))
    assert noted[victim.number].process != victim.process
    log = next((tmp_path / "runs" / "sweeps").glob(f"*/jobs/{victim.number}/job.log")).read_text()
    assert log.count("MAE on synthetic") == 2 and log.count("continuing from") == 1


def wait_for_a_worker(folder: Path) -> JobRecord:
    """A job that runs and has a checkpoint to go on from."""
    for _ in range(1200):
        sweeps = list((folder / "runs" / "sweeps").glob("*"))
        running = [each for sweep in sweeps for each in records(sweep) if each.is_alive]
        begun = {f"seed={OmegaConf.load(path.parent.parent / 'config.yaml').seed}"
                 for path in folder.glob("runs/mae-synthetic/*/checkpoints/last.ckpt")}  # fmt: skip
        for each in running:
            if begun & set(each.words):
                return each
        time.sleep(0.1)
    raise AssertionError("no job ever ran")
