"""Tasks, taxonomy and tracks, as shipped and when their files are wrong."""

import csv
import io
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import samples
from cfbench import content, tasks
from cfbench.errors import CfbenchError
from cfbench.tasks import (
    Task,
    Track,
    find_task,
    find_track,
    load_tasks,
    load_taxonomy,
    pick_tasks,
    track_names,
)

TASK_FILES = (
    "spoof_detection",
    "vector_quantization",
    "auxiliary_objective",
    "decoder_type",
)


def test_there_are_four_tasks_in_order() -> None:
    assert list(load_tasks()) == ["bin", "vq", "aux", "dec"]
    assert tuple(task.name for task in load_tasks().values()) == TASK_FILES


@pytest.mark.parametrize("task_id", list(samples.CLASSES))
def test_the_classes_of_a_task_are_in_order(task_id: str) -> None:
    task = load_tasks()[task_id]
    assert task.class_names == samples.CLASSES[task_id]
    assert task.columns == tuple(f"{task_id}_{name}" for name in samples.CLASSES[task_id])
    assert task.label_column == task_id


@pytest.mark.parametrize("task_id", list(samples.CLASSES))
def test_every_class_says_what_it_means_and_every_task_its_source(task_id: str) -> None:
    task = load_tasks()[task_id]
    assert task.reference.url.startswith("https://arxiv.org/abs/")
    assert task.question.endswith("?")
    for cls in task.classes:
        assert cls.title
        assert cls.meaning.endswith(".")


@pytest.mark.parametrize(
    ("task_id", "words", "name"),
    [
        ("bin", ["spoof", "spoofs", "Spoof", "fake", "deepfake"], "spoof"),
        ("bin", ["bonafide", "Bona Fide", "bona-fide", "real", "genuine"], "bonafide"),
        ("vq", ["REAL", "Real", "bonafide"], "real"),
        ("vq", ["MVQ", "Mvq", " mvq "], "mvq"),
        ("vq", ["SVQ", "Svq"], "svq"),
        ("vq", ["SQ", "Scq", "scq", "FSQ"], "sq"),
        ("aux", ["Trad", "None", "NONE"], "none"),
        ("aux", ["SEM", "Sem", "semantic"], "sem"),
        ("aux", ["Disent", "disentanglement"], "disent"),
        ("dec", ["TIME", "Time", "time-domain"], "time"),
        ("dec", ["FREQ", "Freq", "frequency"], "freq"),
    ],
)
def test_labels_are_read_in_every_known_spelling(task_id: str, words: list[str], name: str) -> None:
    task = load_tasks()[task_id]
    for word in words:
        index = task.class_index(word)
        assert index is not None
        assert task.class_names[index] == name


@pytest.mark.parametrize("word", ["", "mqv", "disent", "0", "spoof"])
def test_an_unknown_label_is_no_class(word: str) -> None:
    assert load_tasks()["vq"].class_index(word) is None


@pytest.mark.parametrize("name", ["vq", "VQ", "vector_quantization", "Vector_Quantization"])
def test_a_task_is_found_by_id_and_name(name: str) -> None:
    assert find_task(name) is load_tasks()["vq"]


@pytest.mark.parametrize(
    ("name", "meant"), [("vqq", "vq"), ("decoder", "decoder_type"), ("binn", "bin")]
)
def test_an_unknown_task_is_refused_with_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(CfbenchError, match=f"no task '{name}' .did you mean '{meant}'"):
        find_task(name)


def test_picked_tasks_are_in_order_and_once() -> None:
    picked = pick_tasks(["dec", "vector_quantization", "vq", "bin"])
    assert [task.id for task in picked] == ["bin", "vq", "dec"]


def test_the_taxonomy_has_31_codecs_and_17_generators_with_references() -> None:
    taxonomy = load_taxonomy()
    assert len(taxonomy.codecs) == 31
    assert len(taxonomy.generators) == 17
    for maker in (*taxonomy.codecs, *taxonomy.generators):
        assert maker.reference
        assert maker.url.startswith("https://")


def test_of_18_cells_codecs_fill_11_and_all_makers_12() -> None:
    taxonomy = load_taxonomy()
    codec_cells = {maker.cell for maker in taxonomy.codecs}
    assert len(codec_cells) == 11
    assert len(taxonomy.known_cells) == 12
    assert taxonomy.known_cells - codec_cells == {("svq", "disent", "freq")}


# Counted from the tables of shared/design/facts.md.
CODECS_OF_CELL = {
    ("mvq", "none", "time"): 8,
    ("mvq", "none", "freq"): 5,
    ("mvq", "sem", "time"): 5,
    ("mvq", "sem", "freq"): 3,
    ("mvq", "disent", "time"): 3,
    ("mvq", "disent", "freq"): 1,
    ("svq", "none", "time"): 1,
    ("svq", "none", "freq"): 2,
    ("svq", "disent", "time"): 1,
    ("sq", "none", "time"): 1,
    ("sq", "none", "freq"): 1,
}
GENERATORS_OF_CELL = {
    ("mvq", "none", "time"): 9,
    ("mvq", "none", "freq"): 2,
    ("mvq", "disent", "time"): 1,
    ("mvq", "sem", "time"): 1,
    ("sq", "none", "time"): 2,
    ("svq", "disent", "time"): 1,
    ("svq", "disent", "freq"): 1,
}


@pytest.mark.parametrize(
    ("kind", "counts"), [("codecs", CODECS_OF_CELL), ("generators", GENERATORS_OF_CELL)]
)
def test_cells_hold_as_many_makers_as_the_papers_say(
    kind: str, counts: dict[tuple[str, str, str], int]
) -> None:
    cells = [maker.cell for maker in getattr(load_taxonomy(), kind)]
    assert {cell: cells.count(cell) for cell in cells} == counts


@pytest.mark.parametrize(("source", "cell"), list((samples.CODECS | samples.GENERATORS).items()))
def test_makers_are_in_the_cells_of_the_papers(source: str, cell: tuple[str, ...]) -> None:
    taxonomy = load_taxonomy()
    assert {**taxonomy.codec_by_spelling, **taxonomy.generator_by_spelling}[source].cell == cell


@pytest.mark.parametrize(
    ("alias", "codec"),
    [
        ("mimicodec", "mini"),
        ("xcodec_hubert_librispeech", "xcodec_hubert_libirispeech"),
        ("xcodec_hubert_general_audio", "xocdec_hubert_general_audio"),
    ],
)
def test_a_codec_is_known_by_its_other_spelling(alias: str, codec: str) -> None:
    spellings = load_taxonomy().codec_by_spelling
    assert spellings[alias] is spellings[codec]


def test_codecfake_plus_scores_id_and_ood() -> None:
    track = find_track("codecfake-plus")
    assert track.scored == ("id", "ood")
    assert list(track.splits) == ["train", "dev", "id", "ood"]
    assert (track.splits["id"].group, track.splits["ood"].group) == (
        "source utterance",
        "generator",
    )
    assert track.tasks == ("bin", "vq", "aux", "dec")


def test_every_generator_is_in_one_subset_of_ood() -> None:
    subsets = {s.name: set(s.sources) for s in find_track("codecfake-plus").splits["ood"].subsets}
    assert subsets["unseen-codec"] == {"MASKGCT", "NS2", "SINGLECODEC"}
    everyone = {maker.id for maker in load_taxonomy().generators}
    assert subsets["seen-codec"] == everyone - subsets["unseen-codec"]


@pytest.mark.parametrize("name", track_names())
def test_every_shipped_track_is_found_by_its_name(name: str) -> None:
    assert find_track(name).name == name


def test_an_unknown_track_is_refused_with_a_suggestion() -> None:
    with pytest.raises(CfbenchError, match=r"no track 'codecfake' .did you mean 'codecfake-plus'"):
        find_track("codecfake")


TRACK = """\
name = "mine"
title = "Mine"
version = "1"
description = "A track of the user's own."
tasks = ["vq"]
scored = ["id"]

[splits.id]
title = "In domain"
group = "speaker"
"""
_numbers = iter(range(10**6))


def own_track(folder: Path, text: str | bytes) -> Track:
    # A new name each time: tracks are cached by name.
    path = folder / f"track{next(_numbers)}.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return find_track(str(path))


def test_a_track_of_the_users_own_is_read_from_its_file(tmp_path: Path) -> None:
    track = own_track(tmp_path, TRACK)
    assert (track.name, track.tasks, track.scored) == ("mine", ("vq",), ("id",))


def test_its_protocol_is_found_beside_it(tmp_path: Path) -> None:
    track = own_track(tmp_path, 'protocol = "lists/p.csv"\n' + TRACK)
    assert track.protocol == str(tmp_path / "lists" / "p.csv")


SUBSETS = """
[[splits.id.subsets]]
name = "one"
title = "One"
sources = ["a"]
[[splits.id.subsets]]
name = "two"
title = "Two"
sources = ["a"]
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "mine"', "name = mine", "not TOML"),
        ('name = "mine"\n', "", "name: Field required"),
        ('name = "mine"', 'name = "My Track"', "name: "),
        ('title = "Mine"', "title = 7", "title: "),
        ('tasks = ["vq"]', 'tasks = ["vqq"]', "tasks.0: "),
        ('tasks = ["vq"]', "tasks = []", "tasks: "),
        ('scored = ["id"]', 'scored = ["idd"]', "split 'idd' is not among"),
        ('scored = ["id"]', 'scored = ["id"]\nscores = 1', "scores: "),
        ('group = "speaker"\n', "", "splits.id.group: "),
        ('group = "speaker"\n', f'group = "speaker"\n{SUBSETS}', "more than one subset"),
        (
            'group = "speaker"\n',
            'group = "speaker"\n[generated]\nsplit = "ood"\n',
            "split 'ood' is not among",
        ),
        (
            'group = "speaker"\n',
            'group = "speaker"\n[resynthesised]\norigin = "VCTK"\notherwise = "train"\n',
            "split 'train' is not among",
        ),
        (
            'group = "speaker"\n',
            'group = "speaker"\n[[published]]\nname = "v1"\nsplit = "id"\nrows = 1\ndigest = "x"\n',
            "published.0.digest: ",
        ),
    ],
)
def test_a_bad_track_file_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in TRACK
    with pytest.raises(CfbenchError) as caught:
        own_track(tmp_path, TRACK.replace(old, new, 1))
    assert says in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_splits_of_dev_and_id_speakers_must_exist(tmp_path: Path) -> None:
    section = '[resynthesised]\norigin = "VCTK"\ndev = ["p226"]\notherwise = "id"\n'
    with pytest.raises(CfbenchError, match="split 'dev' is not among"):
        own_track(tmp_path, TRACK + section)


def test_a_published_split_must_exist(tmp_path: Path) -> None:
    digest = "0" * 64
    section = f'[[published]]\nname = "v1"\nsplit = "odd"\nrows = 1\ndigest = "{digest}"\n'
    with pytest.raises(CfbenchError, match="split 'odd' is not among"):
        own_track(tmp_path, TRACK + section)


def test_a_track_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CfbenchError, match="cannot be read"):
        find_track(str(tmp_path / "none.toml"))
    with pytest.raises(CfbenchError, match="cannot be read"):
        own_track(tmp_path, TRACK.replace("Mine", "é").encode("latin-1"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(CfbenchError, match="cannot be read"):
        find_track(str(tmp_path / "folder.toml"))


def test_a_published_protocol_is_recognised_by_split_and_digest(tmp_path: Path) -> None:
    digest = "0123456789abcdef" * 4
    section = f'[[published]]\nname = "v1"\nsplit = "id"\nrows = 1\ndigest = "{digest}"\n'
    track = own_track(tmp_path, TRACK + section)
    assert track.published_name("id", digest) == "v1"
    assert track.published_name("ood", digest) is None
    assert track.published_name("id", digest[::-1]) is None


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Lets a test put another text in the place of a shipped file."""
    read = content.text
    texts: dict[str, str] = {}
    monkeypatch.setattr(content, "text", lambda path: texts.get(path) or read(path))

    def replace(path: str, text: str) -> None:
        texts[path] = text
        tasks.load_tasks.cache_clear()
        tasks.load_taxonomy.cache_clear()

    yield replace
    monkeypatch.undo()
    tasks.load_tasks.cache_clear()
    tasks.load_taxonomy.cache_clear()


VQ = content.text("tasks/vector_quantization.toml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id = "vq"', "id = vq", "not TOML"),
        ('id = "vq"', 'id = "v_q"', "id: "),
        ('kind = "tracing"', 'kind = "trace"', "kind: "),
        ('headline = "macro_f1"', 'headline = "macro_f2"', "headline"),
        ('headline = "macro_f1"', 'headline = "eer"', "eer is not among the metrics"),
        ('kind = "tracing"', 'kind = "tracing"\nmetrics = ["eer"]', "only a detection task has"),
        ('kind = "tracing"', 'kind = "detection"', "has two classes"),
        ('column = "vq_mvq"', 'column = "mvq"', "its column must be vq_mvq"),
        ('"rvq"', '"scq"', "'scq' names both mvq and sq"),
        ('name = "real"', 'name = "genuine"', "its column must be vq_genuine"),
        ('label_column = "vq"', 'label_column = "label"', "label_column must be vq"),
        ('url = "https://', 'url = "http://', "reference.url: "),
        ('title = "Vector quantisation"\n', "", "title: Field required"),
        ('version = "1"', 'version = "1"\nbest = "mvq"', "best: "),
    ],
)
def test_a_bad_task_file_is_refused(
    shipped: Callable[[str, str], None], old: str, new: str, says: str
) -> None:
    assert old in VQ
    shipped("tasks/vector_quantization.toml", VQ.replace(old, new, 1))
    with pytest.raises(CfbenchError) as caught:
        load_tasks()
    assert says in str(caught.value)
    assert "tasks/vector_quantization.toml" in str(caught.value)


def test_class_0_of_a_tracing_task_is_real() -> None:
    data = tomllib.loads(VQ)
    data["classes"] = data["classes"][::-1]
    with pytest.raises(ValueError, match="class 0 of a tracing task"):
        Task.model_validate(data)


CODECS = content.text("tasks/codecs.csv")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vq": "mqv"}, "'mqv' is no spoofed class of vq"),
        ({"aux": "real"}, "'real' is no spoofed class of aux"),
        ({"dec": ""}, "'' is no spoofed class of dec"),
        ({"id": ""}, "id: "),
        ({"url": "arxiv.org"}, "url: "),
        ({"reference": ""}, "reference: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_bad_row_of_the_taxonomy_is_named_by_line(
    shipped: Callable[[str, str], None], change: dict[str, str], says: str
) -> None:
    table = list(csv.DictReader(io.StringIO(CODECS)))
    table[1] |= change
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, table[0])
    writer.writeheader()
    writer.writerows(table)
    shipped("tasks/codecs.csv", buffer.getvalue())
    with pytest.raises(CfbenchError) as caught:
        load_taxonomy()
    assert says in str(caught.value)
    assert "tasks/codecs.csv, line 3" in str(caught.value)


def test_a_codec_that_stands_twice_is_refused_when_loaded(
    shipped: Callable[[str, str], None],
) -> None:
    shipped("tasks/codecs.csv", CODECS + CODECS.splitlines()[-1] + "\n")
    with pytest.raises(CfbenchError, match="'spectralcodecs' twice"):
        load_taxonomy()


def test_the_commands_list_and_show_tasks(run_cli) -> None:
    listed = run_cli("tasks", "list")
    assert listed.code == 0
    for name in TASK_FILES:
        assert name in listed.out
    shown = run_cli("tasks", "show", "vector_quantization")
    assert shown.code == 0
    for word in ("vq_mvq", "bigcodec", "MASKGCT", "https://arxiv.org/abs/2505.12994"):
        assert word in shown.out


def test_the_commands_list_and_show_tracks(run_cli) -> None:
    listed = run_cli("tracks", "list")
    assert listed.code == 0
    assert "codecfake-plus" in listed.out
    shown = run_cli("tracks", "show", "codecfake-plus")
    assert shown.code == 0
    for word in ("generator", "seen-codec", "MASKGCT", "https://arxiv.org/abs/2501.08238"):
        assert word in shown.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks", "list"),
        ("tasks", "show", "vq"),
        ("tracks", "list"),
        ("tracks", "show", "codecfake-plus"),
    ],
    ids=" ".join,
)
def test_the_commands_print_json(run_cli, arguments: tuple[str, ...]) -> None:
    result = run_cli(*arguments, "--json")
    assert result.code == 0
    assert json.loads(result.out)


@pytest.mark.parametrize(("group", "word"), [("tasks", "vqq"), ("tracks", "codecfake")])
def test_the_commands_refuse_unknown_names(run_cli, group: str, word: str) -> None:
    result = run_cli(group, "show", word)
    assert (result.code, result.out) == (2, "")
    assert f"'{word}' (did you mean" in result.err
    assert f"hint: cfbench {group} list" in result.err
