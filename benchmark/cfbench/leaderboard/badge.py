"""A system's badge: a small picture of its place, as SVG without any script or address."""

from html import escape

from cfbench.leaderboard.build import shown, shown_place
from cfbench.leaderboard.page_data import Lines, split_title
from cfbench.leaderboard.ranking import OVERALL, Board
from cfbench.metrics.catalogue import METRICS

_COLOURS = {"verified": "#1d6238", "claimed": "#8a4a00"}
# Widths of characters at 11 pixels; textLength makes the text as wide in any font.
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|()[]! "), frozenset("mwMW%@")
_PADDING = 12


def badge(board: Board, lines: Lines, slug: str) -> str:
    """The badge of a system: its track, and its place and value where it has one.

    Args:
        board: The leaderboard.
        lines: Its rows by table and slug.
        slug: The system.
    """
    left = f"cfbench {board.title}"
    right = _standing(board, lines, slug)
    status = board.systems[slug].status
    if status == "claimed":
        right += ", claimed"
    full = escape(f"{left}: {right} ({split_title(board.splits[-1]).lower()})")
    first, second = _width(left), _width(right)
    texts = [
        f'<text x="{middle:.1f}" y="14" text-anchor="middle" '
        f'textLength="{width - _PADDING}">{escape(text)}</text>'
        for middle, width, text in ((first / 2, first, left), (first + second / 2, second, right))
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="20" '
        f'role="img" aria-label="{full}"><title>{full}</title>'
        f'<rect width="{first + second}" height="20" rx="3" fill="{_COLOURS[status]}"/>'
        f'<path d="M3 0H{first}V20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#3a4047"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">'
        f"{''.join(texts)}</g></svg>\n"
    )


def _standing(board: Board, lines: Lines, slug: str) -> str:
    """By the first table in which the system has a value: the overall one if it can be."""
    split = board.splits[-1]
    for table in board.tables:
        row = lines[table.id].get(slug)
        if row is None or row.values[split].value is None:
            continue
        number = shown(row.values[split], table.metric).partition(" ")[0]
        task = "" if table.id == OVERALL else f"{table.id.upper()} "
        value = f"{task}{METRICS[table.metric].title} {number} %"
        place = shown_place(row.places.get(split))
        return f"place {place}, {value}" if place else value
    return "not ranked"


def _width(text: str) -> int:
    return round(_PADDING + sum(4 if c in _NARROW else 10.5 if c in _WIDE else 7 for c in text))
