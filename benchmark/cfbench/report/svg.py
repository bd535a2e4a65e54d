"""A figure as part of a page: its styles as attributes, its colours as the page's own.

A page whose policy forbids styles other than its own refuses those that matplotlib writes at every
element; the same properties as attributes are none. Colours become the page's variables, so that a
figure is as dark as the page.
"""

import re
from html import escape
from xml.etree import ElementTree

from cfbench.report.figures import INK, LINE, PAPER, SERIES, SOFT

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_COLOURS = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES)},
}
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inline(svg: bytes, name: str, told: str) -> str:
    """A figure's SVG to stand in an HTML page.

    Args:
        svg: As `figures.draw` makes it.
        name: Of the figure; keeps its ids apart from those of others.
        told: What readers who do not see it are told of it.
    """
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own bytes, not a file of the user's
    wanted = _references(root)
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}style":
                parent.remove(child)
    for element in root.iter():
        _rewrite(element, name, wanted)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    # What matplotlib's style sheet says of every line.
    root.set("stroke-linejoin", "round")
    root.set("stroke-linecap", "butt")
    text = ElementTree.tostring(root, encoding="unicode")
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(told)}" ', 1)


def _references(root: ElementTree.Element) -> set[str]:
    """The ids that something in the figure refers to."""
    found = set()
    for element in root.iter():
        found.add(element.get(_HREF, "").removeprefix("#"))
        for value in element.attrib.values():
            found.update(_REFERENCE.findall(value))
    return found


def _rewrite(element: ElementTree.Element, name: str, wanted: set[str]) -> None:
    own = element.attrib
    for declaration in own.pop("style", "").split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        # Letters are the page's own.
        if key and key != "font-family":
            own[key] = value
    for key in ("fill", "stroke"):
        if key in own:
            own[key] = _COLOURS.get(own[key], own[key])
    if own.get("id") in wanted:
        own["id"] = f"{name}-{own['id']}"
    else:
        own.pop("id", None)
    if _HREF in own:
        own["href"] = f"#{name}-{own.pop(_HREF).removeprefix('#')}"
    if "clip-path" in own:
        own["clip-path"] = _REFERENCE.sub(rf"url(#{name}-\1)", own["clip-path"])
    if element.tag == f"{{{_SVG}}}text" and "fill" not in own:
        own["fill"] = _COLOURS[INK]
