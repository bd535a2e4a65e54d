"""The embedded track's codecs that ship: their settings, and what continues their codes."""

import csv
import io

from cfbench import content
from cfbench.codecs import read_config

ROOT = content.tree("tasks/mini")
CODECS = {path.stem: read_config(path) for path in sorted((ROOT / "codecs").glob("*.toml"))}
GENERATORS = {
    row["name"]: row["codec"]
    for row in csv.DictReader(io.StringIO((ROOT / "generators.csv").read_text()))
}
SEEN = {name for name in CODECS if not name.startswith("x")}
