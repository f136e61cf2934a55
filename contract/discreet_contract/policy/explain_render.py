"""A document as text, Markdown or HTML. Words of a policy are data in all three: none can pose as markup.

The HTML is one file without scripts: a tree whose serializer escapes every text, under a
content security policy that permits nothing but its own style sheet.
"""

from __future__ import annotations

import base64
import hashlib
import re
from itertools import zip_longest
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from discreet_contract.policy.explain_document import Items, Paragraph, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_contract.policy.explain_document import Block, Document

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
body { overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; border-bottom: 1px solid #8888; }
.summary { padding: .75rem 1rem; border-left: 4px solid #2563eb; background: #8881; }
.summary p { margin: .2rem 0; } li { margin: .4rem 0; } .more { font-size: .93rem; }
.scroll { overflow-x: auto; margin-bottom: 1.25rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: .9rem; padding: .3rem 0; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid #8886; text-align: right; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; } thead th { font-size: .85rem; }
@media print { body { max-width: none; margin: 0; font-size: 10pt; }
  h2, tr, li { break-inside: avoid; } h2 { break-after: avoid; } }
"""


def plain(text: str) -> str:
    """One line without control, format or bidirectional characters: a policy cannot repaint a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def as_text(document: Document) -> str:
    """For a terminal."""
    lines = [plain(line) for line in document.summary]
    for section in document.sections:
        lines += ["", plain(section.title)]
        for block in section.blocks:
            lines += _text_block(block)
    return "\n".join(lines)


def _text_block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield f"  {plain(text)}"
        case Items(entries):
            for first, more in entries:
                yield f"  {plain(first)}"
                yield from (f"    {plain(line)}" for line in more)
        case Table(caption, head, rows):
            yield f"  {plain(caption)}"
            yield from (f"    {line}" for line in _columns((head, *rows)))


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(plain(cell)) for cell in column) for column in zip_longest(*rows, fillvalue="")]
    for row in rows:
        yield "  ".join(plain(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def as_markdown(document: Document) -> str:
    """For a review comment or a page; tables in the form of GitHub."""
    parts = [f"# {_escaped(document.title)}", "  \n".join(map(_escaped, document.summary))]
    for section in document.sections:
        parts.append(f"## {_escaped(section.title)}")
        parts += ["\n".join(_markdown_block(block)) for block in section.blocks]
    return "\n\n".join(parts)


def _markdown_block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield _escaped(text)
        case Items(entries):
            for first, more in entries:
                yield f"- {_escaped(first)}"
                yield from (f"  - {_escaped(line)}" for line in more)
        case Table(caption, head, rows):
            yield f"{_escaped(caption)}:\n"
            yield markdown_table(head, rows)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are escaped."""
    lines = [list(map(_escaped, head)), ["---"] * len(head), *(list(map(_escaped, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", plain(text))


def as_html(document: Document) -> str:
    """One self-contained page."""
    root = Element("html", lang="en")
    head = SubElement(root, "head")
    SubElement(head, "meta", charset="utf-8")
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    content = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": content})
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    SubElement(head, "title").text = plain(document.title)
    SubElement(head, "style").text = _STYLE
    main = SubElement(SubElement(root, "body"), "main")
    SubElement(main, "h1").text = plain(document.title)
    summary = SubElement(main, "div", {"class": "summary"})
    for line in document.summary:
        SubElement(summary, "p").text = plain(line)
    for index, section in enumerate(document.sections):
        place = SubElement(main, "section", {"aria-labelledby": f"s{index}"})
        SubElement(place, "h2", id=f"s{index}").text = plain(section.title)
        for block in section.blocks:
            _html_block(place, block)
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html")


def _html_block(place: Element, block: Block) -> None:
    match block:
        case Paragraph(text):
            SubElement(place, "p").text = plain(text)
        case Items(entries):
            items = SubElement(place, "ul")
            for first, more in entries:
                item = SubElement(items, "li")
                SubElement(item, "strong" if more else "span").text = plain(first)
                for line in more:
                    SubElement(item, "div", {"class": "more"}).text = plain(line)
        case Table():
            _html_table(place, block)


def _html_table(place: Element, block: Table) -> None:
    # a region that scrolls must be reachable by keyboard, and then needs a name
    scroll = SubElement(
        place, "div", {"class": "scroll", "role": "region", "tabindex": "0", "aria-label": block.caption}
    )
    table = SubElement(scroll, "table")
    SubElement(table, "caption").text = plain(block.caption)
    row = SubElement(SubElement(table, "thead"), "tr")
    for cell in block.head:
        SubElement(row, "th", scope="col").text = plain(cell)
    body = SubElement(table, "tbody")
    for first, *others in block.rows:
        row = SubElement(body, "tr")
        SubElement(row, "th", scope="row").text = plain(first)
        for cell in others:
            SubElement(row, "td").text = plain(cell)
