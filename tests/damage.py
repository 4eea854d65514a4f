"""What befalls files on their way: named damages, pure functions of bytes and a seed.

A recording on disk is a mapping from file names to contents; a damage makes another mapping of it. `write` puts one on
disk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple


class Link(NamedTuple):
    """A symbolic link."""

    target: str


class Pipe(NamedTuple):
    """Something that opens and never ends."""


class Folder(NamedTuple):
    """A folder where a file should be."""


Content = bytes | Link | Pipe | Folder
Files = Mapping[str, Content]
Harm = Callable[[bytes, Random], Content | None]
"""From a file's bytes to what lies there instead; None for nothing."""


class Damage(NamedTuple):
    """One way to harm a file.

    Attributes:
        name: what the report calls it.
        harm: see `Harm`.
        file: pattern of the names of the files that it can befall.
    """

    name: str
    harm: Harm
    file: str = ".*"


def write(folder: Path, files: Files) -> None:
    """Put a recording on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match content:
            case Link(target):
                path.symlink_to(target)
            case Pipe():
                os.mkfifo(path)
            case Folder():
                path.mkdir()
            case _:
                path.write_bytes(content)


def damaged(files: Files, damages: Sequence[Damage], rounds: range) -> Iterator[tuple[str, str, Files]]:
    """Every damage to every file that it can befall, once a round.

    Yields:
        What happened, to which file, and the recording after it. The same arguments yield the same.
    """
    for damage in damages:
        for name, content in files.items():
            if not re.fullmatch(damage.file, name) or not isinstance(content, bytes):
                continue
            for seed in rounds:
                harmed = damage.harm(content, Random(f"{damage.name} {name} {seed}"))
                rest = {other: kept for other, kept in files.items() if other != name}
                yield f"{damage.name}, seed {seed}", name, rest if harmed is None else {**rest, name: harmed}


# --- to any file ------------------------------------------------------------------------------------------------


def flip_bit(raw: bytes, random: Random) -> bytes:
    at = random.randrange(8 * len(raw))
    return raw[: at // 8] + bytes([raw[at // 8] ^ 1 << at % 8]) + raw[at // 8 + 1 :]


def flip_many(raw: bytes, random: Random) -> bytes:
    for _ in range(1 + 2 * random.randrange(10)):
        raw = flip_bit(raw, random)
    return raw


def overwrite(raw: bytes, random: Random, with_zeros: bool) -> bytes:
    size = random.randint(1, max(1, len(raw) // 4))
    at = random.randrange(len(raw) - size + 1)
    return raw[:at] + (bytes(size) if with_zeros else random.randbytes(size)) + raw[at + size :]


def cut(raw: bytes, random: Random) -> bytes:
    return raw[: random.randrange(len(raw))]


def lose(raw: bytes, random: Random, most: int) -> bytes:
    at = random.randrange(len(raw))
    return raw[:at] + raw[at + random.randint(1, most) :]


def insert(raw: bytes, random: Random) -> bytes:
    at = random.randrange(len(raw) + 1)
    return raw[:at] + random.randbytes(random.randint(1, 3)) + raw[at:]


def recoded(raw: bytes, _: Random) -> bytes:
    """By a program that took the file for Latin-1 text and saved it as UTF-8."""
    return raw.decode("latin-1").encode("utf-8")


ERROR_PAGE = b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head><body>Forbidden</body></html>\n"

TO_ANY_FILE = [
    Damage("one bit flipped", flip_bit),
    Damage("some bits flipped", flip_many),
    Damage("a stretch of zeros", lambda raw, random: overwrite(raw, random, with_zeros=True)),
    Damage("a stretch of noise", lambda raw, random: overwrite(raw, random, with_zeros=False)),
    Damage("truncated", cut),
    Damage("the last byte lost", lambda raw, _: raw[:-1]),
    Damage("the beginning lost", lambda raw, random: raw[random.randint(1, len(raw)) :]),
    Damage("a byte lost", lambda raw, random: lose(raw, random, 1)),
    Damage("a stretch lost", lambda raw, random: lose(raw, random, len(raw))),
    Damage("bytes inserted", insert),
    Damage("bytes appended", lambda raw, random: raw + random.randbytes(random.randint(1, 600))),
    Damage("noise instead", lambda raw, random: random.randbytes(len(raw))),
    Damage("written twice", lambda raw, _: raw + raw),
]
"""Where chance decides: more rounds find more."""

TO_ANY_FILE_ONCE = [
    Damage("empty", lambda raw, _: b""),
    Damage("all zeros", lambda raw, _: bytes(len(raw))),
    Damage("an error page instead", lambda raw, _: ERROR_PAGE),
    Damage("line ends made DOS", lambda raw, _: raw.replace(b"\n", b"\r\n")),
    Damage("line ends made Unix", lambda raw, _: raw.replace(b"\r\n", b"\n")),
    Damage("eighth bits lost", lambda raw, _: bytes(byte & 127 for byte in raw)),
    Damage("saved as UTF-8", recoded),
    Damage("a byte order mark", lambda raw, _: b"\xef\xbb\xbf" + raw),
    Damage("missing", lambda raw, _: None),
    Damage("a link to nowhere", lambda raw, _: Link("nowhere")),
    Damage("links in a circle", lambda raw, _: Link("circle/../circle")),
    Damage("a link to a device", lambda raw, _: Link("/dev/zero")),
    Damage("a pipe", lambda raw, _: Pipe()),
    Damage("a folder", lambda raw, _: Folder()),
]
"""Where nothing is left to chance."""


# --- to text ----------------------------------------------------------------------------------------------------

NUMBERS = ("", "0", "-1", "1", "-0", "nan", "inf", "-inf", "1e-300", "1e300", "1e999", "1_0", "\u0663", "0x10", "--1",
           "1e", "999999999", "1000000000000", "-1000000000000", "9" * 18, "9" * 400, "1.5", "a", "%s",
           "\x00")  # fmt: skip
"""What a number may be replaced by."""

PATHS = ("/etc/passwd", "/dev/zero", "../secret", "..", ".", "-", "~", "../../../../../../etc/hostname", "sub/r.dat",
         "..\\secret", "C:\\secret", "\\\\host\\share\\secret", "http://localhost/r.dat", "file:///etc/passwd", "|id",
         "r.dat::/etc/passwd", "zip://r.zip", "\x00", "secret\x00.dat", "\u202er.dat", "r" * 5000, "CON", "r.hea",
         "%2e%2e%2fsecret", "/proc/self/mem", "s3://bucket/r.dat")  # fmt: skip
"""What the name of a file may be replaced by."""


def lose_line(raw: bytes, random: Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    del lines[random.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(raw: bytes, random: Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    at = random.randrange(len(lines))
    return b"".join([*lines[: at + 1], *lines[at:]])


def swap_lines(raw: bytes, random: Random) -> bytes:
    lines = raw.splitlines(keepends=True)
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def change_digit(raw: bytes, random: Random) -> bytes:
    at = random.choice([match.start() for match in re.finditer(rb"\d", raw)])
    return raw[:at] + str(random.randrange(10)).encode() + raw[at + 1 :]


def lose_field(raw: bytes, random: Random) -> bytes:
    gap = random.choice(list(re.finditer(rb"[^\s,]+", raw)))
    return raw[: gap.start()] + raw[gap.end() :]


def absurd_number(raw: bytes, random: Random) -> bytes:
    number = random.choice(list(re.finditer(rb"[-+]?\d+(\.\d+)?", raw)))
    return raw[: number.start()] + random.choice(NUMBERS).encode() + raw[number.end() :]


def foreign_letter(raw: bytes, random: Random) -> bytes:
    at = random.randrange(len(raw))
    return (
        raw[:at]
        + random.choice(["é", "µ", "心", "\u2028", "\u0085"]).encode(random.choice(["utf-8", "utf-16"]))
        + raw[at + 1 :]
    )


def latin(raw: bytes, random: Random) -> bytes:
    at = random.randrange(len(raw))
    return raw[:at] + bytes([random.randint(128, 255)]) + raw[at:]


def to_text(file: str) -> list[Damage]:
    """Damages to text files whose names match `file`."""
    harms: dict[str, Harm] = {
        "a line lost": lose_line,
        "a line twice": repeat_line,
        "two lines swapped": swap_lines,
        "another digit": change_digit,
        "a field lost": lose_field,
        "an absurd number": absurd_number,
        "a foreign letter": foreign_letter,
        "a letter of Latin-1": latin,
    }
    return [Damage(name, harm, file) for name, harm in harms.items()]


def to_field(name: str, file: str, pattern: str, values: Sequence[str]) -> list[Damage]:
    """A field, the first group of a pattern, replaced by each of some values, on a line that chance chooses."""

    def replace(value: str) -> Harm:
        def harm(raw: bytes, random: Random) -> bytes:
            found = random.choice(list(re.finditer(pattern.encode(), raw, re.MULTILINE)))
            return raw[: found.start(1)] + value.encode() + raw[found.end(1) :]

        return harm

    return [Damage(f"{name} {value[:40]!r}", replace(value), file) for value in values]
