"""Lists of CodecFake+ and cfbench's own tables, read into one frame."""

import gzip
import random
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import cfbench
import samples
from cfbench.errors import CfbenchError
from cfbench.protocol import COLUMNS, Protocol, read_protocol, summarise
from cfbench.tasks import find_track

TRACK = find_track("codecfake-plus")


def read(folder: Path, text: str | bytes, name: str = "list.txt") -> Protocol:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_protocol(path, TRACK)


def rows(protocol: Protocol) -> list[tuple]:
    return protocol.frame.rows()


def expected(utterances: list[samples.Utterance]) -> list[tuple]:
    return sorted(tuple(row) for row in utterances)


def seen(utterances: list[samples.Utterance]) -> list[samples.Utterance]:
    return [row for row in utterances if row.subset == "seen-codec"]


FORMS = {
    "the authors' CoRS_ALL": (samples.cors_list(), samples.CORS),
    "the authors' CoSG_ALL": (samples.cosg_list(), samples.COSG),
    "the authors' CoSG_SEEN": (samples.cosg_seen_list(), seen(samples.COSG)),
    "the Hub's CoRS_labels": (samples.hub_cors_list(), samples.CORS),
    "the Hub's CoRS_labels with a header": (
        samples.hub_cors_list("speaker file label\n"),
        samples.CORS,
    ),
    "the Hub's CoSG_labels": (samples.hub_cosg_list(), samples.COSG),
    "the Hub's CoSG_labels with a header": (
        samples.hub_cosg_list("Model ClipID QUA AUX DEC Label\n"),
        samples.COSG,
    ),
}
forms = pytest.mark.parametrize(("text", "utterances"), list(FORMS.values()), ids=list(FORMS))


@forms
def test_every_form_of_list_gives_the_same_frame(
    tmp_path: Path, text: str, utterances: list[samples.Utterance]
) -> None:
    protocol = read(tmp_path, text)
    assert protocol.frame.columns == list(COLUMNS)
    assert rows(protocol) == expected(utterances)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.rstrip("\n") + "\n",
        lambda text: text.rstrip("\n").replace("\n", "\r\n") + "\r\n",
        lambda text: "\ufeff" + text,
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text + "\n\n",
    ],
    ids=[
        "CRLF",
        "no newline at the end",
        "newline at the end",
        "CRLF at the end",
        "byte-order mark",
        "tabs",
        "blank lines",
        "blank lines at the end",
    ],
)
@forms
def test_line_ends_and_separators_do_not_matter(
    tmp_path: Path, text: str, utterances: list[samples.Utterance], change
) -> None:
    assert rows(read(tmp_path, change(text))) == expected(utterances)


def only_row(folder: Path, line: str) -> dict:
    return read(folder, line).frame.row(0, named=True)


@pytest.mark.parametrize("label", ["spoof", "spoofs", "Spoof", "SPOOF", "fake"])
def test_a_spoof_in_any_spelling(tmp_path: Path, label: str) -> None:
    assert only_row(tmp_path, f"p227 p227_901_bigcodec - - {label}\n")["bin"] == "spoof"


@pytest.mark.parametrize(
    ("line", "speaker", "group", "source", "split"),
    [
        ("p225 p225_001_bigcodec - - spoof", "p225", "p225_001", "bigcodec", "train"),
        ("s5 s5_001_bigcodec - - spoof", "s5", "s5_001", "bigcodec", "train"),
        ("s5 s5_001 - - bonafide", "s5", "s5_001", "VCTK", "train"),
        ("s5 s5_400_snac_24khz spoof", "s5", "s5_400", "snac_24khz", "train"),
        ("p226 p226_001_llm_codec - - spoof", "p226", "p226_001", "llm_codec", "dev"),
        ("p229 p229_1_llm_codec - - spoof", "p229", "p229_1", "llm_codec", "dev"),
        ("p228 p228_001_DAC24 - - spoof", "p228", "p228_001", "DAC24", "id"),
        ("p227 p227_9_mini - - spoof", "p227", "p227_9", "mini", "id"),
        ("p227 p227_9_mimicodec - - spoof", "p227", "p227_9", "mini", "id"),
        (
            "p225 p225_001_xcodec_hubert_librispeech - - spoof",
            *("p225", "p225_001", "xcodec_hubert_libirispeech", "train"),
        ),
        (
            "p225 p225_001_xcodec_hubert_general_audio - - spoof",
            *("p225", "p225_001", "xocdec_hubert_general_audio", "train"),
        ),
        (
            "p225 p225_001_FunCodec_en-libritts-16k-gr1nq32ds320 - Trad FREQ MVQ spoof",
            *("p225", "p225_001", "FunCodec_en-libritts-16k-gr1nq32ds320", "train"),
        ),
    ],
)
def test_an_utterance_of_cors_is_speaker_number_and_codec(
    tmp_path: Path, line: str, speaker: str, group: str, source: str, split: str
) -> None:
    row = only_row(tmp_path, line)
    assert (row["speaker"], row["group"], row["source"]) == (speaker, group, source)
    assert row["split"] == split
    assert row["utt_id"] == line.split()[1]


def test_the_same_clip_of_two_generators_is_two_utterances(tmp_path: Path) -> None:
    protocol = read(tmp_path, "CLAMTTS 0_ours - spoof\nVALLE 0_ours - - spoof\n")
    assert protocol.frame["utt_id"].to_list() == ["CLAMTTS/0_ours", "VALLE/0_ours"]
    assert protocol.frame["group"].to_list() == ["CLAMTTS", "VALLE"]
    assert protocol.frame["dec"].to_list() == ["freq", "time"]


@pytest.mark.parametrize(
    ("said", "classes"),
    [
        ("TACOLM 1 Mvq None Time Spoof", ("mvq", "none", "time")),
        ("CLAMTTS 1 Mvq None Freq Spoof", ("mvq", "none", "freq")),
        ("USLM 1 MVQ Sem TIME spoof", ("mvq", "sem", "time")),
        ("NS3 1 mvq Disent Time spoof", ("mvq", "disent", "time")),
        ("TI1G1R 1 Svq Disent Time spoof", ("svq", "disent", "time")),
        ("SIMPLESPEECH1 1 Scq None Time spoof", ("sq", "none", "time")),
        ("SIMPLESPEECH2 1 SQ Trad Time spoof", ("sq", "none", "time")),
        ("SIMPLESPEECH2 1 Real Real Real bonafide", ("real", "real", "real")),
    ],
)
def test_classes_are_read_in_the_spelling_of_the_hub(
    tmp_path: Path, said: str, classes: tuple[str, str, str]
) -> None:
    row = only_row(tmp_path, said)
    assert (row["vq"], row["aux"], row["dec"]) == classes


@pytest.mark.parametrize("source", list(samples.GENERATORS))
def test_bona_fide_speech_of_a_generator_is_real_and_stays_with_it(
    tmp_path: Path, source: str
) -> None:
    row = only_row(tmp_path, f"{source} clip - bonafide\n")
    assert (row["source"], row["group"], row["split"]) == (source, source, "ood")
    assert (row["vq"], row["aux"], row["dec"]) == ("real", "real", "real")


GOOD_LINE = "p227 p227_900 - - bonafide\n"
REFUSED = {
    "an unknown codec": ("p227 p227_901_bigcodek - - spoof", ("'bigcodek'", "mean 'bigcodec'")),
    "a codec in other case": ("p227 p227_901_BigCodec - - spoof", ("BigCodec", "mean 'bigcodec'")),
    "a file name": ("p227 p227_901_bigcodec.wav - - spoof", ("bigcodec.wav", "mean 'bigcodec'")),
    "an unknown label": ("p227 p227_901_bigcodec - - spof", ("label", "spof")),
    "a row that ends in its label": ("p227 p227_901_bigcodec - - spo", ("label", "spo")),
    "a row that ends in an id": ("p227 p227_90", ("fields",)),
    "a row of one word": ("p227", ("fields",)),
    "another speaker's utterance": ("p228 p227_901_bigcodec - - spoof", ("p227_901_bigcodec",)),
    "an utterance without a number": ("p227 p227_bigcodec - - spoof", ("p227_bigcodec",)),
    "a spoof without a codec": ("p227 p227_901 - - spoof", ("no codec", "p227_901")),
    "bona fide speech with a codec": ("p227 p227_901_bigcodec - - bonafide", ("names a codec",)),
    "a row of the other kind": ("VALLE clip - - spoof", ("clip",)),
}


@pytest.mark.parametrize(("line", "says"), list(REFUSED.values()), ids=list(REFUSED))
def test_a_bad_row_of_cors_is_named_by_line(
    tmp_path: Path, line: str, says: tuple[str, ...]
) -> None:
    with pytest.raises(CfbenchError) as caught:
        read(tmp_path, GOOD_LINE + line + "\n")
    for words in (str(tmp_path / "list.txt"), "line 2", *says):
        assert words in str(caught.value)


REFUSED_GENERATED = {
    "an unknown generator": ("VALLY 0_ours - spoof", ("'VALLY'", "mean 'VALLE'")),
    "an unknown label": ("VALLE 0_ours - fpoos", ("fpoos",)),
    "an unknown class": ("VALLE 0_ours - MWQ spoof", ("vq", "MWQ")),
    "another class than the taxonomy's": ("VALLE 0_ours - SVQ spoof", ("vq", "SVQ", "mvq")),
    "a real spoof": ("VALLE 0_ours - REAL spoof", ("vq", "REAL")),
    "bona fide speech with a class": ("VALLE 0_ours - MVQ bonafide", ("vq", "MVQ")),
    "an empty field": ("VALLE  0_ours - spoof", ("empty field",)),
}


@pytest.mark.parametrize(
    ("line", "says"), list(REFUSED_GENERATED.values()), ids=list(REFUSED_GENERATED)
)
def test_a_bad_row_of_cosg_is_named_by_line(
    tmp_path: Path, line: str, says: tuple[str, ...]
) -> None:
    with pytest.raises(CfbenchError) as caught:
        read(tmp_path, f"VALLE 0_prompt - bonafide\n{line}\n")
    for words in (str(tmp_path / "list.txt"), "line 2", *says):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("p225 p225_001_bigcodec - SEM TIME SVQ spoof", ("aux", "SEM", "none")),
        ("p225 p225_001_bigcodec - Trad FREQ SVQ spoof", ("dec", "FREQ", "time")),
        ("p225 p225_001_bigcodec - Trad TIME MVQ spoof", ("vq", "MVQ", "svq")),
        ("p225 p225_001_bigcodec - Trat TIME SVQ spoof", ("aux", "Trat")),
        ("p225 p225_001 - REAL TIME REAL bonafide", ("dec", "TIME")),
    ],
)
def test_a_training_row_must_agree_with_the_taxonomy(
    tmp_path: Path, line: str, says: tuple[str, ...]
) -> None:
    good = "p225 p225_002_bigcodec - Trad TIME SVQ spoof\n"
    assert read(tmp_path, good).frame["vq"].to_list() == ["svq"]
    with pytest.raises(CfbenchError) as caught:
        read(tmp_path, good + line + "\n")
    for words in ("line 2", *says):
        assert words in str(caught.value)


def test_every_problem_of_a_list_is_reported_at_once(tmp_path: Path) -> None:
    text = "p227 p227_901_nocodec - - spoof\np227 p228_901 - - bonafide\np227 p227_903 - - x\n"
    with pytest.raises(CfbenchError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert "nocodec" in message
    assert "line 1" in message
    assert "line 2" in message
    assert "line 3" in message
    assert len(caught.value.problems) >= 3


def test_of_many_bad_rows_five_are_named_and_all_counted(tmp_path: Path) -> None:
    bad = "".join(f"p227 p227_{number}_nocodec - - spoof\n" for number in range(1000, 2500))
    with pytest.raises(CfbenchError, match=r"line 6 .*and 1,495 more") as caught:
        read(tmp_path, GOOD_LINE + bad)
    assert "line 7 " not in str(caught.value)


def test_lines_count_blank_ones_and_the_header(tmp_path: Path) -> None:
    text = "speaker file label\n\n\np227 p227_901_bigcodec spoof\np227 p227_902_x spoof\n"
    with pytest.raises(CfbenchError, match="line 5 "):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "empty"),
        (b"\n\n", "no rows"),
        (b"Model ClipID QUA AUX DEC Label\n", "no rows"),
        (b"\xef\xbb\xbf", "no rows|empty"),
        (bytes(range(256)), "binary"),
        (gzip.compress(samples.cors_list().encode()), "binary|compressed"),
        (samples.cors_list().encode("utf-16"), "binary|UTF-16"),
        (GOOD_LINE.encode() + b"p227 p227_\xe9 - - spoof\n", "line 2: not UTF-8"),
        (b"a b c d e f g h\n", "fields"),
        (b"a b c d e f g h i\n" * 3, "fields"),
        (GOOD_LINE.encode() + b"a b c d e f g h\n", "fields"),
        (samples.cors_list().replace(" ", "  ").encode(), "field"),
        (b"p227 p227_901_bigcodec spoof\np227 p227_902_bigcodec - - spoof\n", "line 2"),
        (b"utt_id,split,source,group\na,id,b,c\n", "fields"),
    ],
    ids=[
        "empty",
        "blank lines",
        "a header only",
        "a byte-order mark only",
        "binary",
        "gz",
        "UTF-16",
        "latin-1",
        "eight fields",
        "nine fields",
        "eight fields in line 2",
        "double spaces",
        "two forms in one",
        "csv called txt",
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    with pytest.raises(CfbenchError, match=says) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "list.txt") in str(caught.value)


def test_an_utterance_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CfbenchError, match=r"twice: p227_901_bigcodec \(list.txt, line 1; list.txt, line 2"
    ):
        read(tmp_path, 3 * "p227 p227_901_bigcodec - - spoof\n")


def test_a_missing_list_names_its_neighbour(lists: Path) -> None:
    with pytest.raises(CfbenchError, match=r"mean 'CoRS_ALL\.txt'"):
        read_protocol(lists / "CoRS_AL.txt", TRACK)


@forms
def test_the_digest_does_not_depend_on_the_order_of_rows(
    tmp_path: Path, text: str, utterances: list[samples.Utterance]
) -> None:
    lines = [line for line in text.splitlines() if "abel" not in line]
    digests = read(tmp_path, text).digests
    random.Random(0).shuffle(lines)
    assert read(tmp_path, "\n".join(lines)).digests == digests
    assert len(utterances) == len(lines)


def test_every_form_of_list_has_the_same_digest(tmp_path: Path) -> None:
    table = samples.write_frame(samples.protocol_frame(), tmp_path / "protocol.csv")
    whole = read_protocol(table, TRACK).digests
    for text in (samples.cors_list(), samples.hub_cors_list("speaker file label\n")):
        assert read(tmp_path, text).digests["id"] == whole["id"]
    for text in (samples.cosg_list(), samples.hub_cosg_list()):
        assert read(tmp_path, text).digests["ood"] == whole["ood"]


@pytest.mark.parametrize(
    "change",
    [
        {"utt_id": "p227_999"},
        {"source": "DAC24"},
        {"group": "p227_999"},
        {"vq": "svq"},
        {"aux": "sem"},
        {"dec": "freq"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_depends_on_every_truth(change: dict[str, str]) -> None:
    one, two = (samples.protocol_frame(samples.CORS) for _ in range(2))
    spoof = pl.col("utt_id") == "p227_901_snac_24khz"
    two = two.with_columns(
        pl.when(spoof).then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in change.items()
    )
    assert read_protocol(one, TRACK).digests != read_protocol(two, TRACK).digests


def test_the_digest_does_not_depend_on_speakers() -> None:
    frame = samples.protocol_frame(samples.CORS)
    without = read_protocol(frame.drop("speaker"), TRACK)
    assert without.digests == read_protocol(frame, TRACK).digests
    assert without.frame["speaker"].null_count() == frame.height


def test_a_folder_is_read_as_one_protocol(lists: Path) -> None:
    protocol = read_protocol(lists, TRACK)
    assert rows(protocol) == expected(samples.EVERYTHING)
    assert protocol.splits == ("id", "ood")
    assert protocol.files == ("CoRS_ALL.txt", "CoSG_ALL.txt")
    assert any("CoSG_SEEN.txt is part of CoSG_ALL.txt: 12 rows" in n for n in protocol.notes)


def test_lists_one_folder_below_are_found(lists: Path) -> None:
    assert rows(read_protocol(lists.parent, TRACK)) == expected(samples.EVERYTHING)


def test_a_folder_of_one_list_has_only_its_split(lists: Path) -> None:
    (lists / "CoSG_ALL.txt").unlink()
    assert read_protocol(lists, TRACK).splits == ("id",)


def test_the_hubs_lists_are_found_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "CoRS_labels.txt").write_text(samples.hub_cors_list())
    (tmp_path / "CoSG_labels.txt").write_text(samples.hub_cosg_list())
    assert rows(read_protocol(tmp_path, TRACK)) == expected(samples.EVERYTHING)


def test_a_part_that_contradicts_its_whole_is_refused(lists: Path) -> None:
    with (lists / "CoSG_SEEN.txt").open("a") as file:
        file.write("VALLE other - MVQ spoof\n")
    with pytest.raises(CfbenchError, match=r"CoSG_SEEN.txt.*CoSG_ALL.txt.*VALLE/other"):
        read_protocol(lists, TRACK)


def test_a_folder_without_lists_says_which_it_looks_for(tmp_path: Path) -> None:
    with pytest.raises(CfbenchError, match=r"CoRS_ALL.txt.*CoSG_labels.txt"):
        read_protocol(tmp_path, TRACK)


def test_seen_alone_is_a_protocol(lists: Path) -> None:
    protocol = read_protocol(lists / "CoSG_SEEN.txt", TRACK)
    assert protocol.frame["subset"].unique().to_list() == ["seen-codec"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "csv.zst"])
def test_a_table_of_cfbenchs_own_columns_is_read(tmp_path: Path, suffix: str) -> None:
    path = samples.write_frame(samples.protocol_frame(), tmp_path / f"p.{suffix}")
    assert rows(read_protocol(path, TRACK)) == expected(samples.EVERYTHING)


@pytest.mark.parametrize("convert", [lambda f: f, lambda f: f.to_pandas(), lambda f: f.to_arrow()])
def test_a_frame_of_any_kind_is_read(convert) -> None:
    frame = convert(samples.protocol_frame())
    assert rows(cfbench.read_protocol(frame)) == expected(samples.EVERYTHING)


def test_subset_and_speaker_may_be_absent_from_a_table() -> None:
    frame = samples.protocol_frame().drop("subset", "speaker")
    protocol = read_protocol(frame, TRACK)
    assert rows(protocol) == [(*row[:-1], None) for row in expected(samples.EVERYTHING)]


def test_a_table_may_spell_classes_as_the_lists_do() -> None:
    frame = samples.protocol_frame().with_columns(
        pl.col("vq").str.to_uppercase(), pl.col("aux").replace("none", "Trad")
    )
    assert rows(read_protocol(frame, TRACK)) == expected(samples.EVERYTHING)


TABLE = samples.protocol_frame(samples.CORS[:3]).write_csv()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("utt_id", "uttid", ("'uttid'", "mean 'utt_id'", "utt_id is missing")),
        ("source,group", "source,grup", ("'grup'", "mean 'group'")),
        (",vq,", ",,", ("vq",)),
        ("spoof,mvq", "spoof,mqv", ("line 3", "'mqv'", "mean 'mvq'")),
        ("24khz,id", "24khz,idd", ("line 3", "'idd'", "mean 'id'")),
        ("VCTK", "", ("line 2", "source")),
        ("p227_901_snac_24khz,", ",", ("line 3", "utt_id")),
        ("spoof,mvq", ",mvq", ("line 3", "bin")),
        ("bonafide,real", "bonafide,mvq", ("line 2", "vq")),
        ("spoof,mvq,none", "spoof,mvq,real", ("line 3", "aux")),
        ("p227_901_languagecodec", "p227_901_snac_24khz", ("p227_901_snac_24khz", "twice")),
    ],
    ids=[
        "id column",
        "group column",
        "no task column",
        "class",
        "split",
        "no source",
        "no id",
        "no label",
        "bona fide contradiction",
        "spoof contradiction",
        "twice",
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, old: str, new: str, says: tuple[str, ...]) -> None:
    assert old in TABLE
    with pytest.raises(CfbenchError) as caught:
        read(tmp_path, TABLE.replace(old, new, 1), "protocol.csv")
    for words in says:
        assert words in str(caught.value)


def test_an_unreadable_kind_of_protocol_is_refused() -> None:
    with pytest.raises(CfbenchError, match="neither a path nor a frame"):
        cfbench.read_protocol(7)


def test_the_environment_names_the_folder(lists: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CfbenchError, match="CFBENCH_PROTOCOLS"):
        cfbench.read_protocol()
    monkeypatch.setenv("CFBENCH_PROTOCOLS", str(lists))
    assert rows(cfbench.read_protocol()) == expected(samples.EVERYTHING)


def test_a_protocol_of_some_splits(lists: Path) -> None:
    protocol = read_protocol(lists, TRACK)
    assert rows(protocol.only(["ood"])) == expected(samples.COSG)
    with pytest.raises(CfbenchError, match=r"'odd'.*mean 'ood'"):
        protocol.only(["odd"])


def test_a_summary_counts_splits_sources_and_classes(lists: Path) -> None:
    split = summarise(read_protocol(lists, TRACK))["splits"]["id"]
    assert split["utterances"] == 18
    assert split["groups"] == 3
    assert split["published"] is None
    assert split["classes"]["bin"] == {"spoof": 15, "bonafide": 3}
    assert split["classes"]["vq"] == {"real": 3, "mvq": 9, "svq": 3, "sq": 3}
    by_source = {row["source"]: row for row in split["sources"]}
    assert sorted(by_source) == sorted(["VCTK", *samples.CODECS])
    assert by_source["llm_codec"]["spoof"] == 3
    assert by_source["llm_codec"]["aux"] == "sem"
    assert (by_source["VCTK"]["bonafide"], by_source["VCTK"]["vq"]) == (3, None)


def test_the_commands_print_counts_and_digest(run_cli, lists: Path) -> None:
    digest = read_protocol(lists, TRACK).digests["ood"]
    checked = run_cli("protocol", "check", lists)
    assert checked.code == 0
    assert "ood: 16 utterances of 4 sources: bin spoof 8, bonafide 8; vq real 8" in checked.out
    assert digest in checked.out
    shown = run_cli("protocol", "show", lists)
    assert shown.code == 0
    assert "16 utterances" in shown.out
    for source in (*samples.CODECS, *samples.GENERATORS):
        assert source in shown.out


@pytest.mark.parametrize("command", ["show", "check"])
def test_the_commands_print_json(run_cli, lists: Path, command: str) -> None:
    import json

    result = run_cli("protocol", command, lists, "--json")
    assert result.code == 0
    assert json.loads(result.out)["splits"]["ood"]["utterances"] == 16


@pytest.mark.parametrize("command", ["show", "check"])
def test_the_commands_refuse_a_bad_list(run_cli, tmp_path: Path, command: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(GOOD_LINE + "p227 p227_901_bigcodek - - spoof\n")
    result = run_cli("protocol", command, path)
    assert (result.code, result.out) == (2, "")
    assert f"error: {path}" in result.err
    assert "line 2" in result.err
    assert "hint: " in result.err


REAL = {
    "evaluation/CoRS_ALL.txt": (
        23405,
        "id",
        {
            "bin": {"spoof": 22650, "bonafide": 755},
            "vq": {"real": 755, "mvq": 18120, "svq": 3020, "sq": 1510},
            "aux": {"real": 755, "none": 12835, "sem": 6040, "disent": 3775},
            "dec": {"real": 755, "time": 13590, "freq": 9060},
        },
    ),
    "evaluation/CoSG_ALL.txt": (
        1797,
        "ood",
        {
            "bin": {"spoof": 931, "bonafide": 866},
            "vq": {"real": 866, "mvq": 848, "svq": 20, "sq": 63},
            "aux": {"real": 866, "none": 874, "sem": 5, "disent": 52},
            "dec": {"real": 866, "time": 263, "freq": 668},
        },
    ),
    "evaluation/CoSG_SEEN.txt": (
        577,
        "ood",
        {
            "bin": {"spoof": 318, "bonafide": 259},
            "vq": {"real": 259, "mvq": 249, "svq": 6, "sq": 63},
            "aux": {"real": 259, "none": 275, "sem": 5, "disent": 38},
            "dec": {"real": 259, "time": 240, "freq": 78},
        },
    ),
}


@pytest.mark.parametrize("name", list(REAL))
def test_the_real_lists_have_the_published_counts(protocols: Path, name: str) -> None:
    height, split, classes = REAL[name]
    summary = summarise(read_protocol(protocols / name, TRACK))["splits"]
    assert list(summary) == [split]
    assert summary[split]["utterances"] == height
    assert summary[split]["classes"] == classes


def test_the_real_test_set_has_755_groups_and_30_codecs(protocols: Path) -> None:
    frame = read_protocol(protocols / "evaluation/CoRS_ALL.txt", TRACK).frame
    assert frame["group"].n_unique() == 755
    codecs = set(frame["source"].unique()) - {"VCTK"}
    assert len(codecs) == 30
    assert "Encodec_24b24k" not in codecs


# Spoof and bona fide clips of each generator, as counted in shared/design/facts.md.
CLIPS = {
    **{"ELLAV": (8, 8), "VALLE": (57, 53), "GPST": (30, 10), "UNIAUDIO": (11, 11)},
    **{"TACOLM": (8, 8), "SPEECHX": (8, 8), "RALLE": (5, 5), "VIOLA": (7, 7), "NS2": (23, 23)},
    **{"CLAMTTS": (78, 41), "MASKGCT": (576, 576), "NS3": (32, 32), "USLM": (5, 5)},
    **{"SIMPLESPEECH1": (32, 34), "SIMPLESPEECH2": (31, 31), "TI1G1R": (6, 6)},
    "SINGLECODEC": (14, 8),
}


def test_the_real_generators_have_the_published_clips(protocols: Path) -> None:
    summary = summarise(read_protocol(protocols / "evaluation/CoSG_ALL.txt", TRACK))
    counted = {
        row["source"]: (row["spoof"], row["bonafide"])
        for row in summary["splits"]["ood"]["sources"]
    }
    assert counted == CLIPS


def test_sixteen_real_clips_recur_in_clamtts_and_valle(protocols: Path) -> None:
    frame = read_protocol(protocols / "evaluation/CoSG_ALL.txt", TRACK).frame
    clips = frame.select("source", pl.col("utt_id").str.splitn("/", 2).struct[1].alias("clip"))
    again = clips.filter(pl.col("clip").is_duplicated())
    assert again["clip"].n_unique() == 16
    assert sorted(again["source"].unique()) == ["CLAMTTS", "VALLE"]


def test_the_real_folder_is_both_splits_with_seen_contained(protocols: Path) -> None:
    protocol = read_protocol(protocols, TRACK)
    assert protocol.frame.height == 25202
    assert protocol.splits == ("id", "ood")
    assert any("577 rows" in note for note in protocol.notes)
    subsets = protocol.split("ood")["subset"].value_counts().rows()
    assert dict(subsets) == {"seen-codec": 577, "unseen-codec": 1220}


TRAINING = {"train": ("train", 85930), "dev": ("dev", 1470), "test": ("id", 1510)}


@pytest.mark.parametrize("suffix", ["", "_bal_vq", "_bal_dec"])
@pytest.mark.parametrize("name", list(TRAINING))
def test_the_real_training_lists_are_half_bona_fide(
    protocols: Path, name: str, suffix: str
) -> None:
    split, height = TRAINING[name]
    protocol = read_protocol(protocols / f"training/{name}_mult_learn{suffix}.txt", TRACK)
    assert protocol.splits == (split,)
    assert protocol.frame.height == height
    assert (protocol.frame["bin"] == "bonafide").sum() == height // 2
    # One spoofed codec was drawn for each source utterance.
    assert protocol.frame["group"].n_unique() == height // 2


def test_the_real_training_list_holds_the_codec_that_the_test_set_lacks(protocols: Path) -> None:
    frame = read_protocol(protocols / "training/train_mult_learn.txt", TRACK).frame
    assert frame["source"].n_unique() == 32
    assert "Encodec_24b24k" in frame["source"]
    assert frame["speaker"].n_unique() == 106
    assert "s5" in frame["speaker"]


def test_pandas_frames_with_missing_subsets_are_read() -> None:
    frame = pd.DataFrame(samples.CORS)
    assert rows(cfbench.read_protocol(frame)) == expected(samples.CORS)
