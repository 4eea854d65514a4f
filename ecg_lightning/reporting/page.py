"""A page of pictures with words beside them: one HTML file that needs no other."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --page: #f4f3f1; --card: #ffffff; --ink: #16181d; --quiet: #5b6069; --line: #dedbd5;
        --code: #f1efeb; --after: #0072B2; --before: #6f6f6f }
@media (prefers-color-scheme: dark) {
  :root { --page: #14161a; --card: #1d2026; --ink: #eceef2; --quiet: #a3a9b4; --line: #32363f; --code: #282c34;
          --after: #56B4E9; --before: #a8a8a8 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1rem 4rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem }
h2 { font-size: 1.2rem; margin: 0 }
p { margin: .3rem 0 0; max-width: 75ch }
.quiet { color: var(--quiet); font-size: .9rem }
.before, .after { font-weight: 600 }
.before { color: var(--before) } .after { color: var(--after) }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem;
          margin-top: 1.25rem }
code { background: var(--code); border-radius: 5px; padding: .1em .4em; margin-right: .3rem; font-size: .85rem;
       white-space: nowrap; display: inline-block }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(240px, 100%), 1fr)); gap: .6rem;
       margin-top: .7rem }
.strip { overflow-x: auto; margin-top: .6rem }
.strip img { min-width: 760px }
img { width: 100%; height: auto; display: block; background: #ffffff; border-radius: 6px }
"""


@dataclass(frozen=True)
class Card:
    """One thing that the page shows.

    Attributes:
        name: its heading.
        text: what it does.
        source: where it comes from.
        settings: its parameters.
        pictures: PNGs side by side, by what they show.
        strips: PNGs as wide as the page, by what they show.
        refusal: why there is no picture.
    """

    name: str
    text: str
    source: str
    settings: Mapping[str, object]
    pictures: Mapping[str, bytes]
    strips: Mapping[str, bytes]
    refusal: str = ""


def write_page(path: Path, title: str, introduction: Sequence[str], cards: Sequence[Card]) -> Path:
    """Write the page; the same contents give the same bytes.

    Args:
        path: the HTML file; missing folders are made, a file there is replaced.
        title: of the page.
        introduction: paragraphs below the title, in HTML.
        cards: from the top down.

    Returns:
        The path written.
    """
    opening = "".join(f"<p>{paragraph}</p>\n" for paragraph in introduction)
    body = f"<h1>{escape(title)}</h1>\n{opening}{''.join(map(_section, cards))}"
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body><main>\n{body}</main></body>\n</html>\n',
        encoding="utf-8",
    )
    return path


def _section(card: Card) -> str:
    settings = "".join(f"<code>{escape(f'{key}={_plain(value)}')}</code>" for key, value in card.settings.items())
    pictures = "".join(_image(*each) for each in card.pictures.items())
    strips = "".join(f'<div class="strip">{_image(*each)}</div>\n' for each in card.strips.items())
    refusal = f"<p><em>Not on these recordings: {escape(card.refusal)}</em></p>\n" if card.refusal else ""
    return (
        f"<section>\n<h2>{escape(card.name)}</h2>\n<p>{escape(card.text)}</p>\n"
        f'<p>{settings}<span class="quiet">{escape(card.source)}</span></p>\n{refusal}'
        + (f'<div class="row">{pictures}</div>\n' if pictures else "")
        + f"{strips}</section>\n"
    )


def _plain(value: object) -> str:
    """A setting as the configuration writes it."""
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, list | tuple) else str(value)


def _image(what: str, png: bytes) -> str:
    return f'<img alt="{escape(what)}" title="{escape(what)}" src="data:image/png;base64,{b64encode(png).decode()}">'
