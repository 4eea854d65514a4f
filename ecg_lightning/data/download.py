"""Fetch a data set from PhysioNet: `python -m ecg_lightning.data.download mitdb --root data`.

Every file is checked against the data set's own `SHA256SUMS.txt` before it gets its name, so a file that is there is
whole. An interrupted run is continued by the same command: what is there and matches is not fetched again.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, get_args

import pooch
import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm

from ecg_lightning.errors import UserError
from ecg_lightning.interrupts import interrupts_held

Rates = Literal["100", "500", "both"]

BASE_URL = "https://physionet.org/files"
CHECKSUMS = "SHA256SUMS.txt"
TIMEOUT_S = 30
RETRIES = 2
AGAIN = "run the same command again to continue"


@dataclass(frozen=True)
class Source:
    """Where a data set lives on PhysioNet.

    Attributes:
        title: its published name.
        path: project and version, as in the address of its page.
        wanted: regular expression of the files needed; group 1 is the name below the local folder, and a group
            `rate`, where there is one, the sampling rate in Hz that the file belongs to.
    """

    title: str
    path: str
    wanted: str


CHALLENGE = {2020: "challenge-2020/1.0.2", 2021: "challenge-2021/1.0.3"}

SOURCES = {
    "mitdb": Source("MIT-BIH Arrhythmia", "mitdb/1.0.0", r"(\d{3}\.(?:hea|dat|atr))"),
    "ptbxl": Source("PTB-XL", "ptb-xl/1.0.3", r"(\w+\.csv|records(?P<rate>100|500)/\d{5}/\w+\.(?:hea|dat))"),
    "nstdb": Source("MIT-BIH Noise Stress Test", "nstdb/1.0.0", r"((?:bw|em|ma)\.(?:hea|dat))"),
    **{
        name: Source(f"{title} (CinC {year})", CHALLENGE[year], rf"training/{folder}/\w+/(\w+\.(?:hea|mat))")
        for name, title, year, folder in (
            ("g12ec", "Georgia", 2020, "georgia"),
            ("cpsc2018", "CPSC 2018", 2020, "cpsc_2018"),
            ("cpsc2018_extra", "CPSC-Extra", 2020, "cpsc_2018_extra"),
            ("st_petersburg", "St Petersburg INCART", 2020, "st_petersburg_incart"),
            ("ptb", "PTB", 2020, "ptb"),
            ("ptbxl_cinc", "PTB-XL", 2020, "ptb-xl"),
            ("chapman_ningbo", "Chapman-Shaoxing and Ningbo", 2021, "(?:chapman_shaoxing|ningbo)"),
        )
    },
}


def download(name: str, root: Path, *, base_url: str = BASE_URL, rates: Rates = "both", jobs: int = 4) -> Path:
    """Fetch what is missing of one data set and verify all of it.

    A local file that does not match its checksum is replaced.

    Args:
        name: a key of `SOURCES`, also the name of the folder below `root`.
        root: the folder of all data sets.
        base_url: PhysioNet or a mirror of the same layout.
        rates: which of PTB-XL's sampling rates to fetch, in Hz; the other data sets come in one.
        jobs: number of parallel connections.

    Returns:
        The folder, complete.

    Raises:
        UserError: the server cannot be reached or lacks a file, a file does not match its checksum, the disk is
            full, or the list of checksums is unusable.
    """
    if jobs < 1:
        raise UserError(f"--jobs={jobs} must be at least 1")
    source, folder = SOURCES[name], root.expanduser() / name
    url = f"{base_url.rstrip('/')}/{source.path}/"
    with _Connection(source, folder, jobs) as connection:
        checksums = parse_checksums(connection.text(url + CHECKSUMS), url + CHECKSUMS)
        files = _select(checksums, source.wanted, rates)
        if not files:
            raise UserError(f"{url}{CHECKSUMS} lists no file of {name}; --base-url must be laid out as {BASE_URL}")
        cache = pooch.Pooch(
            folder,
            url,
            registry={local: checksums[path] for local, path in files.items()},
            urls={local: url + path for local, path in files.items()},
            retry_if_failed=RETRIES,
        )
        _fetch_all(cache, connection, jobs)
    return folder


def parse_checksums(text: str, origin: str) -> dict[str, str]:
    """Read a `SHA256SUMS.txt`.

    Args:
        text: lines of a digest and a path, as `sha256sum` writes them.
        origin: where it came from, for messages.

    Returns:
        SHA-256 in hexadecimal by path; every path stays below the data set's folder.

    Raises:
        UserError: a line is something else, or a path leads out of the folder.
    """
    checksums = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(.+)", line)
        if not match:
            raise UserError(f"{origin} is no list of SHA-256 checksums ({line[:40]!r}); check --base-url")
        digest, path = match.groups()
        if any(local.anchor or ".." in local.parts for local in (PurePosixPath(path), PureWindowsPath(path))):
            raise UserError(f"{origin} names {path!r}, outside the data set; refused: use another --base-url")
        checksums[path] = digest
    return checksums


def _select(paths: Iterable[str], wanted: str, rates: Rates) -> dict[str, str]:
    """The needed ones of a server's paths, by local name."""
    matches = [match for match in (re.fullmatch(wanted, path) for path in paths) if match]
    return {
        match[1]: match[0] for match in matches if match.groupdict().get("rate") in (None, rates) or rates == "both"
    }


def _fetch_all(cache: pooch.Pooch, connection: _Connection, jobs: int) -> None:
    """Bring every file of the cache's registry to disk, several at a time; the first failure stops the rest."""
    with connection.explained(str(cache.path)):
        # Ahead of the threads, which would race to create them inside pooch.
        for parent in {(cache.abspath / local).parent for local in cache.registry}:
            parent.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")  # one bar instead of a line per file
    with interrupts_held() as interrupt_point:
        pool = ThreadPoolExecutor(jobs)
        try:
            tasks = [pool.submit(connection.fetch, cache, local) for local in cache.registry]
            received = 0
            with tqdm(total=len(tasks), desc=cache.path.name, unit="file", disable=None) as bar:
                for task in as_completed(tasks):
                    interrupt_point()
                    received += task.result()
                    bar.set_postfix_str(f"{tqdm.format_sizeof(received)}B received", refresh=False)
                    bar.update()
        finally:
            pool.shutdown(cancel_futures=True)


class _Connection(requests.Session):
    """Connections to one data set's server, kept open between files, that fail with a `UserError`.

    Args:
        source: the data set.
        folder: its local folder.
        jobs: how many threads use it at once.
    """

    def __init__(self, source: Source, folder: Path, jobs: int) -> None:
        super().__init__()
        self._by_hand = f"or download https://physionet.org/content/{source.path}/ by hand and unpack it to {folder}"
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(pool_maxsize=jobs))

    def text(self, url: str) -> str:
        """The text at an address."""
        with self.explained(url):
            response = self.get(url, timeout=TIMEOUT_S)
            response.raise_for_status()
            return response.content.decode(errors="replace")

    def fetch(self, cache: pooch.Pooch, local: str) -> int:
        """Bring one file to disk unless it is there and verified; the number of bytes received."""
        with self.explained(cache.get_url(local)):
            received: int = cache.fetch(local, downloader=self._save, processor=_bytes_received)
        return received

    def _save(self, url: str, output: str, _cache: pooch.Pooch) -> None:
        """Pooch's downloader protocol; pooch names the temporary file, checks its content and renames it."""
        with self.get(url, stream=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            Path(output).unlink()  # made anew: pooch's own is readable by its owner alone, and data are often shared
            with Path(output).open("xb") as file:
                file.writelines(response.iter_content(1 << 18))

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn what can go wrong with `what`, an address or a folder, into a message that says what to do."""
        try:
            yield
        except requests.HTTPError as error:
            status = f"{error.response.status_code} {error.response.reason}"
            raise UserError(f"{what}: {status}; check --base-url and {AGAIN}, {self._by_hand}") from error
        except requests.RequestException as error:
            raise UserError(f"{what} cannot be fetched ({type(error).__name__}); {AGAIN}, {self._by_hand}") from error
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = "free some space" if full else "name a folder that can be written with --root"
            raise UserError(f"{what} cannot be stored ({error}); {remedy} and {AGAIN}") from error
        except ValueError as error:  # pooch's way to say it
            reason = f"does not match {CHECKSUMS}; what came was deleted"
            raise UserError(f"{what} {reason}: {AGAIN}, {self._by_hand}") from error


def _bytes_received(path: str, action: str, _cache: pooch.Pooch) -> int:
    """Pooch's processor protocol, which tells a fetched file from one that was there."""
    return 0 if action == "fetch" else Path(path).stat().st_size


def _parser() -> argparse.ArgumentParser:
    root = os.environ.get("ECG_DATA_ROOT", "data")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", type=Path, default=root, help="folder of all data sets (%(default)s; $ECG_DATA_ROOT)")
    common.add_argument("--base-url", default=BASE_URL, help="PhysioNet or a mirror of it (%(default)s)")
    common.add_argument("--jobs", type=int, default=4, help="parallel connections (%(default)s)")
    parser = argparse.ArgumentParser(prog="python -m ecg_lightning.data.download", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="|".join(SOURCES))
    commands = {name: names.add_parser(name, help=source.title, parents=[common]) for name, source in SOURCES.items()}
    commands["ptbxl"].add_argument("--rates", choices=get_args(Rates), default="both", help="in Hz (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    try:
        folder = download(**vars(_parser().parse_args(argv)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted: {AGAIN}", file=sys.stderr)
        return 130
    print(f"{folder} is complete and matches {CHECKSUMS}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
