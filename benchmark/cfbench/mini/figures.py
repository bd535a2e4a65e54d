"""Pictures of the embedded track, drawn by matplotlib (`pip install 'cfbench[figures]'`)."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench import files
from cfbench.audio import RATE
from cfbench.errors import CfbenchError

Point = tuple[float, float, float]
"""A value, and the ends of its interval."""

_COLUMNS = 6
_COLOURS = ("#4269d0", "#d1495b", "#3a7d44", "#b07d12")  # read apart in grey too, by their markers
_MARKERS = ("o", "s", "^", "D")


def draw_spectrograms(clips: Mapping[str, NDArray[np.int16]], path: Path) -> None:
    """One sentence through all codecs, 0 to 8 kHz, 80 dB.

    Args:
        clips: By the name under each picture.
        path: The PNG.

    Raises:
        CfbenchError: matplotlib is not installed.
    """
    rows = -(-len(clips) // _COLUMNS)
    with _figure(path, (12, 1.75 * rows + 0.2), rows, _COLUMNS) as axes:
        for place, (name, pcm) in zip(axes.flat, clips.items(), strict=False):
            place.specgram(
                pcm / 32768, NFFT=512, Fs=RATE, noverlap=384, vmin=-130, vmax=-50, cmap="magma"
            )
            place.set_title(name, fontsize=8, pad=2)
        for place in axes.flat:
            place.set_xticks([])
            place.set_yticks([])
        for place in axes.flat[len(clips) :]:
            place.axis("off")


def draw_points(
    rows: Sequence[str], columns: Mapping[str, Mapping[str, Mapping[str, Point]]], path: Path
) -> None:
    """Values with their intervals: a row a system, a panel a question, a colour a series.

    Args:
        rows: From top to bottom.
        columns: By the panel's title, then by the series' name, then by row; 0 to 1.
        path: The SVG.

    Raises:
        CfbenchError: matplotlib is not installed.
    """
    size = (3.0 * len(columns) + 1.8, 0.34 * len(rows) + 1.1)
    with _figure(path, size, 1, len(columns), sharey=True) as axes:
        for place, (title, series) in zip(axes.flat, columns.items(), strict=True):
            shift = np.linspace(-0.15, 0.15, len(series)) if len(series) > 1 else [0.0]
            for number, (name, points) in enumerate(series.items()):
                heights = [rows.index(row) + shift[number] for row in points]
                value, low, high = np.array(list(points.values())).T * 100
                place.errorbar(
                    value, heights, xerr=[value - low, high - value], label=name, linestyle="none",
                    color=_COLOURS[number], marker=_MARKERS[number], markersize=4, linewidth=1.2,
                )  # fmt: skip
            place.set_title(title, fontsize=10)
            place.set_xlim(0, 100)
            place.grid(axis="x", alpha=0.3)
            place.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.flat[0].invert_yaxis()
        if any(len(series) > 1 for series in columns.values()):
            axes.flat[-1].legend(fontsize=8, loc="upper left", framealpha=0.9)


@contextmanager
def _figure(
    path: Path, size: tuple[float, float], rows: int, columns: int, **more: Any
) -> Iterator[Any]:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise CfbenchError(
            "pictures need matplotlib, which is not installed",
            "pip install 'cfbench[figures]'",
        ) from None
    # The same picture, the same bytes; words stay words.
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        figure = Figure(size, layout="constrained")
        yield figure.subplots(rows, columns, squeeze=False, **more)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".svg":
            files.write_atomically(
                path,
                lambda place: figure.savefig(place, format="svg", metadata={"Date": None}),
            )
            return
        from PIL import Image  # matplotlib depends on it

        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=90)
        # Noise does not compress: a few colours make a sixth of it.
        few = Image.open(drawn).convert("RGB").quantize(32, dither=Image.Dither.NONE)
        files.write_atomically(path, lambda place: few.save(place, "PNG", optimize=True))
