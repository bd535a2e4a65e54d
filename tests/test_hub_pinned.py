"""Files that are pinned to a commit: how they are named, and that they are what was meant."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfbench.errors import CfbenchError
from cfbench.hub.failures import NotConnected
from cfbench.hub.pinned import PinnedFile, fetch_pinned, parse_pinned
from hub_server import READER, Fault, Hub
from hub_server.client import use

huggingface_hub = pytest.importorskip("huggingface_hub")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LINK = f"https://huggingface.co/datasets/lab/results/resolve/{COMMIT}"
REPO = "lab/results"
CONTENT = b"utt_id,vq\n" * 9000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        use(server, tmp_path, monkeypatch)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def pinned(hub: Hub) -> PinnedFile:
    commit = hub.add(REPO, {"a/p.csv": CONTENT, "p.parquet": b"PAR1"}, kind="dataset")
    return PinnedFile("dataset", REPO, commit, "a/p.csv")


def refusal(text: str) -> str:
    with pytest.raises(CfbenchError) as caught:
        parse_pinned(text)
    return str(caught.value)


def failure(file: PinnedFile, folder: Path, limit: int = 10**6, login: bool = False) -> str:
    with pytest.raises(CfbenchError) as caught:
        fetch_pinned(file, folder, limit, login=login)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        (f"{LINK}/p.parquet", "dataset", "p.parquet"),
        (f"{LINK}/a/b%20c/p.csv?download=true", "dataset", "a/b c/p.csv"),
        (f"{LINK}/%C3%A9.csv", "dataset", "é.csv"),
        (f"{LINK}/é.csv", "dataset", "é.csv"),
        (f"HTTPS://HuggingFace.co/lab/results/resolve/{COMMIT.upper()}/x", "model", "x"),
        (f"https://huggingface.co/spaces/lab/results/resolve/{COMMIT}/x", "space", "x"),
        (f"hf://datasets/lab/results@{COMMIT}/a/p.csv", "dataset", "a/p.csv"),
        (f"hf://spaces/lab/results@{COMMIT}/a/p.csv", "space", "a/p.csv"),
        (f"hf://lab/results@{COMMIT}/a/p.csv", "model", "a/p.csv"),
    ],
)
def test_every_form_of_an_address(text: str, kind: str, path: str) -> None:
    file = parse_pinned(text)
    assert file == PinnedFile(kind, REPO, COMMIT, path)
    assert parse_pinned(file.url) == file
    assert file.url.startswith("https://huggingface.co/")


@given(
    st.sampled_from(["model", "dataset", "space"]),
    st.lists(
        st.text(min_size=1, max_size=8).filter(
            lambda part: part.isprintable() and not set(part) & set("/\\%") and part.strip(".")
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_what_is_written_is_read_again(kind: str, parts: list[str]) -> None:
    file = PinnedFile(kind, REPO, COMMIT, "/".join(parts))
    assert parse_pinned(file.url) == file


@pytest.mark.parametrize(
    ("revision", "why"),
    [
        ("main", "'main' is no commit but the name of a branch or tag, which can change"),
        ("v1.0", "'v1.0' is no commit but the name of a branch or tag, which can change"),
        (COMMIT[:7], f"'{COMMIT[:7]}' is an abbreviated commit"),
        (COMMIT[:39], f"'{COMMIT[:39]}' is an abbreviated commit"),
        (COMMIT + "0", "is no commit but"),
        ("g" * 40, "is no commit but"),
        ("refs%2Fpr%2F1", "'refs/pr/1' is a reference, which can change"),
    ],
)
def test_what_can_change_is_refused(revision: str, why: str) -> None:
    assert why in refusal(f"https://huggingface.co/datasets/lab/results/resolve/{revision}/p.csv")
    if "%" not in revision:
        assert why in refusal(f"hf://datasets/lab/results@{revision}/p.csv")


def test_references_of_uris_are_refused() -> None:
    assert "'refs/pr/1' is a reference" in refusal("hf://datasets/lab/results@refs/pr/1/p.csv")
    assert "names no commit" in refusal("hf://datasets/lab/results/p.csv")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p.csv",
        "file:///etc/passwd",
        f"ftp://huggingface.co/datasets/lab/results/resolve/{COMMIT}/p.csv",
        f"http://huggingface.co/datasets/lab/results/resolve/{COMMIT}/p.csv",
        f"https://example.org/datasets/lab/results/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co.example.org/lab/results/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co:8443/lab/results/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co./lab/results/resolve/{COMMIT}/p.csv",
        f"https://[::1/lab/results/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co/buckets/lab/results/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co/results/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co/lab/re..sults/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co/../results/resolve/{COMMIT}/p.csv",
        f"https://huggingface.co/lab/results/resolve/{COMMIT}",
        f"https://huggingface.co/lab/results/resolve/{COMMIT}/",
        f"https://huggingface.co/lab/results/blob/{COMMIT}/p.csv",
        f"{LINK}/../p.csv",
        f"{LINK}/a/../../p.csv",
        f"{LINK}/./p.csv",
        f"{LINK}/a//p.csv",
        f"{LINK}/a\\p.csv",
        f"{LINK}/%2e%2e/p.csv",
        f"{LINK}/a%2Fp.csv",
        f"{LINK}/a%2fp.csv",
        f"{LINK}/a%5Cp.csv",
        f"{LINK}/%252e%252e/p.csv",
        f"{LINK}/%70.csv",
        f"{LINK}/%FF.csv",
        f"{LINK}/%00.csv",
        f"{LINK}/%E2%80%AE.csv",
        f"{LINK}/p%",
        f"{LINK}/p\n.csv",
        f"{LINK}/p\t.csv",
        f"{LINK}/p\x1b.csv",
        f" {LINK}/p.csv",
        f"{LINK}/p.csv#top",
        f"{LINK}/p.csv?token=1",
        f"{LINK}/p.csv?download=true&x=1",
        f"{LINK}/{'x' * 1000}",
        f"hf://datasets/lab/results@{COMMIT}/../p.csv",
        f"hf://datasets/lab/results@{COMMIT}/a%2Fp.csv",
        f"hf://datasets/lab/results@{COMMIT}",
        f"hf://buckets/lab/results@{COMMIT}/p.csv",
        f"hf://results@{COMMIT}/p.csv",
    ],
)
def test_what_is_no_pinned_address(text: str) -> None:
    said = refusal(text)
    assert len(said.splitlines()) == 2
    assert "\x1b" not in said


@pytest.mark.parametrize("login", ["me", "me:hf_secret0123", ":hf_secret0123"])
def test_a_login_in_an_address_is_refused_and_not_repeated(login: str) -> None:
    for form in (
        f"https://{login}@huggingface.co/lab/results/resolve/{COMMIT}/p.csv",
        f"https://{login}@huggingface.co/lab/results/resolve/main/p.csv",
        f"ftp://{login}@huggingface.co/p\n.csv",
        f"hf://{login}@huggingface.co/p.csv",
    ):
        assert "hf_secret" not in refusal(form)


@given(st.text(max_size=60), st.sampled_from(["", "hf://", f"{LINK}/", "https://"]))
def test_anything_else_is_refused_in_words_or_is_a_file_inside(text: str, start: str) -> None:
    try:
        file = parse_pinned(start + text)
    except CfbenchError:
        return
    assert not {"", ".", ".."} & set(file.path.split("/"))
    assert "\\" not in file.path
    assert parse_pinned(file.url) == file


def test_a_mirror_is_the_hub_that_is_asked(hub: Hub) -> None:
    file = parse_pinned(f"{hub.url}/datasets/lab/results/resolve/{COMMIT}/p.csv")
    assert file.url == f"{LINK}/p.csv"


def test_a_file_at_its_commit(hub: Hub, pinned: PinnedFile, tmp_path: Path) -> None:
    hub.add(REPO, {"a/p.csv": b"changed"}, kind="dataset")
    path = fetch_pinned(pinned, tmp_path / "here", len(CONTENT))
    assert path == tmp_path / "here" / "a" / "p.csv"
    assert path.read_bytes() == CONTENT


def test_a_large_file_of_the_hub(hub: Hub, pinned: PinnedFile, tmp_path: Path) -> None:
    file = PinnedFile("dataset", REPO, pinned.commit, "p.parquet")
    assert fetch_pinned(file, tmp_path / "here", 4).read_bytes() == b"PAR1"


def test_a_file_that_is_too_large_is_not_downloaded(
    hub: Hub, pinned: PinnedFile, tmp_path: Path
) -> None:
    said = failure(pinned, tmp_path, len(CONTENT) - 1)
    assert f"{len(CONTENT):,} bytes, more than the {len(CONTENT) - 1:,} that it may have" in said
    assert hub.count("GET") == 0


def test_a_file_of_unknown_size_is_not_downloaded(
    hub: Hub, pinned: PinnedFile, tmp_path: Path
) -> None:
    hub.faults.append(Fault(method="HEAD", without=("Content-Length",)))
    assert "the Hub does not tell its size" in failure(pinned, tmp_path)
    assert hub.count("GET") == 0


@pytest.mark.parametrize("size", [10, len(CONTENT) * 2])
def test_a_file_of_another_size_than_was_told(
    hub: Hub, pinned: PinnedFile, tmp_path: Path, size: int
) -> None:
    told = {"X-Linked-Size": str(size)}
    hub.faults.append(Fault(method="HEAD", times=9, headers=told))
    assert "broke off (OSError)" in failure(pinned, tmp_path / "here")
    assert not list((tmp_path / "here").rglob("p.csv"))


def test_another_commit_than_was_asked_for(hub: Hub, pinned: PinnedFile, tmp_path: Path) -> None:
    hub.faults.append(Fault(method="HEAD", headers={"X-Repo-Commit": COMMIT}))
    assert "is not the Hub, or has another commit" in failure(pinned, tmp_path)


def test_a_download_that_is_cut_goes_on(
    hub: Hub, pinned: PinnedFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.faults.append(Fault(cut=20_000, method="GET"))
    assert fetch_pinned(pinned, tmp_path / "here", 10**6).read_bytes() == CONTENT
    assert [seen.range for seen in hub.seen if seen.method == "GET"] == [None, "bytes=20000-"]


def test_a_download_that_is_always_cut(hub: Hub, pinned: PinnedFile, tmp_path: Path) -> None:
    hub.faults.append(Fault(cut=100, times=99, method="GET"))
    assert ": the download broke off (" in failure(pinned, tmp_path / "here")
    assert not list((tmp_path / "here").rglob("p.csv"))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401, times=99), "does not accept your token (401)"),
        (Fault(403, times=99), "refuses access (403)"),
        (Fault(429, times=99), "too many requests from here (429)"),
        (Fault(429, times=99, headers={"Retry-After": "77"}), "wait 77 seconds"),
        (Fault(503, times=99), "the Hub is in trouble (503)"),
        (Fault(cut=-1, times=99), "the download broke off (RemoteProtocolError)"),
    ],
)
def test_trouble_is_told(
    hub: Hub, pinned: PinnedFile, tmp_path: Path, fault: Fault, said: str
) -> None:
    hub.faults.append(Fault(**vars(fault)))
    assert said in failure(pinned, tmp_path)


def test_what_is_not_there(hub: Hub, pinned: PinnedFile, tmp_path: Path) -> None:
    for file, said in (
        (PinnedFile("dataset", "lab/nothing", COMMIT, "p"), "no dataset repository lab/nothing"),
        (PinnedFile("dataset", REPO, COMMIT, "p.csv"), f"{REPO} has no revision '{COMMIT}'"),
        (PinnedFile("dataset", REPO, pinned.commit, "x"), f"{REPO} has no file 'x' at revision"),
    ):
        assert said in failure(file, tmp_path)


def test_the_login_of_this_machine_is_not_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever names a file must not have it read by somebody who may see more.
    commit = hub.add("host/labels", {"l.csv": b"secret"}, private=True, kind="dataset")
    monkeypatch.setenv("HF_TOKEN", READER)
    file = PinnedFile("dataset", "host/labels", commit, "l.csv")
    said = failure(file, tmp_path / "here")
    assert "no dataset repository host/labels that you may see" in said
    assert "must be public" in said
    assert {seen.token for seen in hub.seen} == {None}
    assert fetch_pinned(file, tmp_path / "here", 99, login=True).read_bytes() == b"secret"
    # Nor is what was read with it.
    assert "that you may see" in failure(file, tmp_path / "here")


def test_offline_mode(hub: Hub, pinned: PinnedFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(NotConnected, match="offline mode is on"):
        fetch_pinned(pinned, Path("x"), 10**6)
    assert not hub.seen


def test_nothing_answers(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("ENDPOINT", "http://127.0.0.1:9"),
        ("HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/x"),
    ):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    with pytest.raises(NotConnected, match=r"cannot be reached at http://127\.0\.0\.1:9"):
        fetch_pinned(PinnedFile("dataset", REPO, COMMIT, "p"), tmp_path, 10**6)
