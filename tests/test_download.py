from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_lightning.data import download as module
from ecg_lightning.data.download import download, main, parse_checksums
from ecg_lightning.errors import UserError

RECORDS = ("100", "101", "207")
NEEDED = {f"{record}.{kind}" for record in RECORDS for kind in ("hea", "dat", "atr")}
NOT_NEEDED = {"RECORDS", "102-0.atr", "100.xws", "x_mitdb/x_100.dat", "mitdbdir/intro.htm"}
LIST = "mitdb/1.0.0/SHA256SUMS.txt"


class Mirror(ThreadingHTTPServer):
    """PhysioNet in small on loopback, which can be told to fail.

    `log` holds the paths asked for; `cut` those whose connection breaks half-way, once; `stall` those that stop
    half-way until `release` is set; `corrupt` those whose bytes arrive changed.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.log: list[str] = []
        self.cut: set[str] = set()
        self.stall: set[str] = set()
        self.corrupt: set[str] = set()
        self.stalled, self.release = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files"

    def publish(self, path: str, files: dict[str, bytes]) -> None:
        sums = "".join(f"{hashlib.sha256(content).hexdigest()} {name}\n" for name, content in files.items())
        named = {**files, "SHA256SUMS.txt": sums.encode()}
        self.files |= {f"{path}/{name}": content for name, content in named.items()}

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Mirror

    def do_GET(self) -> None:
        path = self.path.removeprefix("/files/")
        self.server.log.append(path)
        if path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[path]
        if path in self.server.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if path in self.server.cut | self.server.stall:
            self.send_half(path, content)
        else:
            self.wfile.write(content)

    def send_half(self, path: str, content: bytes) -> None:
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if path in self.server.stall:
            self.server.stalled.set()
            self.server.release.wait(20)
        self.server.cut.discard(path)
        self.server.stall.discard(path)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Mirror()
    names = sorted(NEEDED | NOT_NEEDED)
    server.publish("mitdb/1.0.0", {name: os.urandom(20_000 + 1000 * i) for i, name in enumerate(names)})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRIES", 0)


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def published(mirror: Mirror) -> dict[str, bytes]:
    return {name: mirror.files[f"mitdb/1.0.0/{name}"] for name in NEEDED}


def asked_for(mirror: Mirror) -> list[str]:
    """Names of the files asked for since the last call, sorted, without the list of checksums that comes first."""
    first, *rest = mirror.log
    mirror.log.clear()
    assert first == LIST
    return sorted(path.removeprefix("mitdb/1.0.0/") for path in rest)


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "ecg_lightning.data.download", *args]


@pytest.mark.parametrize("jobs", [1, 4])
def test_fetches_every_needed_file_once_and_nothing_else(mirror: Mirror, tmp_path: Path, jobs: int) -> None:
    assert download("mitdb", tmp_path, base_url=mirror.url, jobs=jobs) == tmp_path / "mitdb"
    assert on_disk(tmp_path / "mitdb") == published(mirror)
    assert asked_for(mirror) == sorted(NEEDED)


def test_files_get_the_permissions_of_any_new_file(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    folder = download("mitdb", tmp_path, base_url=mirror.url)
    assert {path.stat().st_mode for path in folder.iterdir()} == {(tmp_path / "any").stat().st_mode}


def test_second_run_fetches_the_list_only(mirror: Mirror, tmp_path: Path) -> None:
    folder = download("mitdb", tmp_path, base_url=mirror.url)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    mirror.log.clear()
    download("mitdb", tmp_path, base_url=mirror.url + "/")
    assert mirror.log == [LIST]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_fetches_again_what_is_missing_truncated_or_changed(mirror: Mirror, tmp_path: Path) -> None:
    folder = download("mitdb", tmp_path, base_url=mirror.url)
    asked_for(mirror)
    whole = (folder / "101.dat").read_bytes()
    (folder / "100.hea").unlink()
    (folder / "100.dat").write_bytes((folder / "100.dat").read_bytes()[:5000])
    (folder / "101.dat").write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    download("mitdb", tmp_path, base_url=mirror.url)
    assert asked_for(mirror) == ["100.dat", "100.hea", "101.dat"]
    assert on_disk(folder) == published(mirror)


def test_a_cut_connection_is_tried_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = {"mitdb/1.0.0/101.dat"}
    folder = download("mitdb", tmp_path, base_url=mirror.url)
    assert on_disk(folder) == published(mirror)
    assert asked_for(mirror) == sorted([*NEEDED, "101.dat"])


@pytest.mark.usefixtures("no_retries")
def test_a_cut_run_keeps_whole_files_only_and_is_continued(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = {"mitdb/1.0.0/101.dat"}
    with pytest.raises(UserError, match=r"101\.dat cannot be fetched .*run the same command again.*by hand.*mitdb$"):
        download("mitdb", tmp_path, base_url=mirror.url, jobs=1)
    kept = on_disk(tmp_path / "mitdb")
    assert {"100.hea", "101.atr"} <= kept.keys() < NEEDED
    assert kept.items() <= published(mirror).items()
    asked_for(mirror)
    folder = download("mitdb", tmp_path, base_url=mirror.url)
    assert asked_for(mirror) == sorted(NEEDED - kept.keys())
    assert on_disk(folder) == published(mirror)


@pytest.mark.usefixtures("no_retries")
def test_a_corrupt_file_is_named_and_not_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.corrupt = {"mitdb/1.0.0/207.dat"}
    with pytest.raises(UserError, match=r"207\.dat does not match SHA256SUMS\.txt.*deleted.*again"):
        download("mitdb", tmp_path, base_url=mirror.url)
    kept = on_disk(tmp_path / "mitdb")
    assert "207.dat" not in kept
    assert kept.items() <= published(mirror).items()


@pytest.mark.usefixtures("no_retries")
@pytest.mark.parametrize("gone", ["207.atr", "SHA256SUMS.txt"])
def test_a_file_the_server_lacks_is_named(mirror: Mirror, tmp_path: Path, gone: str) -> None:
    del mirror.files[f"mitdb/1.0.0/{gone}"]
    with pytest.raises(UserError, match=rf"/mitdb/1\.0\.0/{gone}: 404 Not Found; check --base-url"):
        download("mitdb", tmp_path, base_url=mirror.url)


@pytest.mark.parametrize("path", ["../x.dat", "/tmp/x.dat", "a/../../x.dat", "..", r"..\x.dat", r"C:\x.dat", "C:x.dat"])
def test_a_path_out_of_the_folder_is_refused(mirror: Mirror, tmp_path: Path, path: str) -> None:
    mirror.files[LIST] += f"{'0' * 64}  {path}\n".encode()
    with pytest.raises(UserError, match="outside the data set; refused"):
        download("mitdb", tmp_path, base_url=mirror.url)
    assert mirror.log == [LIST]
    assert not list(tmp_path.iterdir())


@given(st.lists(st.sampled_from(["a", "b.dat", "..", "c..d", "...", ".e"]), min_size=1, max_size=5), st.binary())
def test_checksums_are_read_as_sha256sum_writes_them(parts: list[str], content: bytes) -> None:
    path, digest = "/".join(parts), hashlib.sha256(content).hexdigest()
    for gap in (" ", "  ", " *"):
        line = f"{digest}{gap}{path}\r\n\n"
        if ".." in parts:
            with pytest.raises(UserError, match="outside"):
                parse_checksums(line, "list")
        else:
            assert parse_checksums(line, "list") == {path: digest}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"<html>please log in</html>", "no list of SHA-256 checksums .*log in"),
        (b"0" * 40 + b"  100.dat", "no list of SHA-256 checksums"),
        (b"0" * 64 + b"  other.txt", "lists no file of mitdb"),
        (b"", "lists no file of mitdb"),
    ],
)
def test_a_useless_list_is_reported(mirror: Mirror, tmp_path: Path, text: bytes, message: str) -> None:
    mirror.files[LIST] = text
    with pytest.raises(UserError, match=message):
        download("mitdb", tmp_path, base_url=mirror.url)


def test_a_full_disk_is_reported_and_leaves_nothing_behind(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr(shutil, "move", no_room)
    with pytest.raises(UserError, match=r"No space left on device.*free some space and run the same command again"):
        download("mitdb", tmp_path, base_url=mirror.url)
    assert on_disk(tmp_path) == {}


def test_a_root_that_is_a_file_is_reported(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be stored.*--root"):
        download("mitdb", tmp_path / "file", base_url=mirror.url)


@pytest.mark.parametrize(("rates", "kept"), [("100", {"100"}), ("500", {"500"}), ("both", {"100", "500"})])
def test_ptbxl_comes_at_the_rates_asked_for(mirror: Mirror, tmp_path: Path, rates: str, kept: set[str]) -> None:
    records = {
        rate: {f"records{rate}/00000/00001_{kind}r.{end}" for end in ("hea", "dat")}
        for rate, kind in (("100", "l"), ("500", "h"))
    }
    tables = {"ptbxl_database.csv", "scp_statements.csv"}
    names = tables.union({"RECORDS", "example_physionet.py"}, *records.values())
    mirror.publish("ptb-xl/1.0.3", {name: name.encode() for name in names})
    assert main(["ptbxl", "--root", str(tmp_path), "--base-url", mirror.url, "--rates", rates]) == 0
    assert on_disk(tmp_path / "ptbxl").keys() == tables.union(*(records[rate] for rate in kept))


def test_parallel_fetches_share_a_new_folder(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = os.makedirs

    def make_slowly(path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        time.sleep(0.1)
        make(path, mode, exist_ok)

    monkeypatch.setattr(os, "makedirs", make_slowly)
    names = {f"records100/00000/0000{i}_lr.dat" for i in range(4)}
    mirror.publish("ptb-xl/1.0.3", dict.fromkeys(names, b"signal"))
    assert on_disk(download("ptbxl", tmp_path, base_url=mirror.url)).keys() == names


def test_georgia_comes_flat(mirror: Mirror, tmp_path: Path) -> None:
    names = ["training/georgia/g1/E00001.hea", "training/georgia/g11/E10344.mat", "training/ptb/g1/S0001.hea"]
    mirror.publish("challenge-2020/1.0.2", {name: name.encode() for name in names})
    folder = download("g12ec", tmp_path, base_url=mirror.url)
    assert on_disk(folder) == {"E00001.hea": names[0].encode(), "E10344.mat": names[1].encode()}


def test_command_line_fetches_below_the_data_root(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECG_DATA_ROOT", str(tmp_path))
    run = subprocess.run(command("mitdb", "--base-url", mirror.url), capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"{tmp_path / 'mitdb'} is complete and matches SHA256SUMS.txt\n"
    assert on_disk(tmp_path / "mitdb") == published(mirror)


def test_command_line_says_what_to_do_without_a_server(mirror: Mirror, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    args = ("mitdb", "--root", str(tmp_path), "--base-url", f"http://127.0.0.1:{port}")
    run = subprocess.run(command(*args), capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    for part in ("cannot be fetched", "again to continue", "https://physionet.org/content/mitdb/1.0.0/", str(tmp_path)):
        assert part in run.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["mitbd"], 2, "invalid choice: 'mitbd'"),
        (["mitdb", "--rates", "100"], 2, "unrecognized arguments"),
        (["mitdb", "--jobs", "0"], 1, "error: --jobs=0"),
        (["mitdb", "--base-url", "physionet.org"], 1, "error: physionet.org/mitdb/1.0.0/SHA256SUMS.txt cannot be"),
    ],
)
def test_command_line_refuses(
    args: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = args if args == ["mitbd"] else [*args, "--root", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        sys.exit(main(args))
    assert stop.value.code == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_stopped_run_is_continued(mirror: Mirror, tmp_path: Path, stop: signal.Signals, code: int) -> None:
    mirror.stall = {"mitdb/1.0.0/101.dat"}
    args = command("mitdb", "--root", str(tmp_path), "--base-url", mirror.url, "--jobs", "1")
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's children ignore it
    run = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, handler)
    assert mirror.stalled.wait(20)
    run.send_signal(stop)
    mirror.release.set()
    _, errors = run.communicate(timeout=20)
    assert run.returncode == code
    assert "Traceback" not in errors
    assert "207.dat" not in on_disk(tmp_path / "mitdb")
    kept = {name: content for name, content in on_disk(tmp_path / "mitdb").items() if name in NEEDED}
    assert kept.items() <= published(mirror).items()
    mirror.log.clear()
    download("mitdb", tmp_path, base_url=mirror.url)
    assert asked_for(mirror) == sorted(NEEDED - kept.keys())
    assert published(mirror).items() <= on_disk(tmp_path / "mitdb").items()


@pytest.mark.realdata
def test_the_published_list_names_48_records_that_verify(mirror: Mirror, data_root: Path) -> None:
    mirror.files[LIST] = (data_root / "mitdb" / "SHA256SUMS.txt").read_bytes()
    names = module._select(parse_checksums(mirror.files[LIST].decode(), "list"), module.SOURCES["mitdb"].wanted, "both")
    assert len(names) == 48 * 3
    download("mitdb", data_root, base_url=mirror.url)
    assert mirror.log == [LIST]
