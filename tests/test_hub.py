import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cfbench.errors import CfbenchError
from cfbench.hub.weights import fetch, is_address
from hub_server import READER, STRANGER, Fault, Hub
from hub_server.client import use

huggingface_hub = pytest.importorskip("huggingface_hub")

OLD, NEW = b"old weights " * 4000, b"new weights " * 5000
REPO = "CodecFake/Tracing"
FILE = f"{REPO}/models/S_VQ.pth"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub with one repository, which the client of this process uses; nothing waits."""
    with Hub() as server:
        use(server, tmp_path, monkeypatch)
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        monkeypatch.chdir(tmp_path)
        server.add(REPO, {"models/S_VQ.pth": OLD}, tag="v1")
        server.add(REPO, {"models/S_VQ.pth": OLD}, branch="refs/pr/1")
        server.add(REPO, {"models/S_VQ.pth": NEW, "models/a b.pt": b"x", "README.md": b"# R"})
        yield server
        huggingface_hub.close_session()


def refusal(address, revision=None):
    with pytest.raises(CfbenchError) as caught:
        fetch(address, revision)
    # No traceback of the library's is shown with it.
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


def commit_of(hub, tag):
    api = huggingface_hub.HfApi(endpoint=hub.url)
    return api.model_info(REPO, revision=tag).sha


@pytest.mark.parametrize(
    "address",
    [
        FILE,
        f"hf://{FILE}",
        f"HF://{FILE}",
        f"hf://models/{FILE}",
        f"hf://{FILE}@main",
        "HUB/" + FILE.replace("/models", "/resolve/main/models"),
        "HUB/" + FILE.replace("/models", "/blob/main/models"),
        "HUB/" + FILE.replace("/models", "/resolve/main/models") + "?download=true#top",
        "https://huggingface.co/" + FILE.replace("/models", "/blob/main/models"),
        "https://hf.co/" + FILE.replace("/models", "/raw/main/models"),
    ],
)
def test_every_form_of_an_address_names_the_same_file(hub, address):
    address = address.replace("HUB", hub.url)
    assert is_address(address)
    path = fetch(address)
    assert path.read_bytes() == NEW
    assert path.name == "S_VQ.pth"


@pytest.mark.parametrize(
    "address",
    [
        f"{FILE}@v1",
        f"{REPO}@v1/models/S_VQ.pth",
        f"hf://{FILE}@v1",
        f"hf://{REPO}@v1/models/S_VQ.pth",
        f"hf://{FILE}@refs/pr/1",
        f"hf://{FILE}@refs%2Fpr%2F1",
        f"hf://{REPO}@refs/pr/1/models/S_VQ.pth",
        f"https://huggingface.co/{REPO}/resolve/v1/models/S_VQ.pth",
        f"https://huggingface.co/{REPO}/resolve/refs%2Fpr%2F1/models/S_VQ.pth",
        f"https://huggingface.co/{REPO}/blob/refs/pr/1/models/S_VQ.pth",
    ],
)
def test_a_revision_is_part_of_an_address(hub, address):
    assert is_address(address)
    assert fetch(address).read_bytes() == OLD


def test_a_revision_beside_the_address(hub):
    assert fetch(FILE, "v1").read_bytes() == OLD
    assert fetch(FILE, commit_of(hub, "v1")).read_bytes() == OLD
    assert fetch(f"{FILE}@v1", "v1").read_bytes() == OLD
    assert refusal(f"{FILE}@v1", "main") == (
        f"{FILE}@v1: the address names revision 'v1', but 'main' is asked for\n  give one of them"
    )


def test_a_path_with_a_blank_or_an_at_sign(hub):
    hub.add(REPO, {"models/a b.pt": b"blank", "models/m@2.pth": b"at"})
    assert fetch(f"{REPO}/models/a b.pt").read_bytes() == b"blank"
    assert fetch(f"{hub.url}/{REPO}/resolve/main/models/a%20b.pt").read_bytes() == b"blank"
    assert fetch(f"hf://{REPO}/models/m@2.pth").read_bytes() == b"at"
    assert fetch(f"hf://{REPO}/models/m@2.pth@main").read_bytes() == b"at"


def test_a_link_of_a_mirror_in_a_folder(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"{hub.url}/mirror")
    assert fetch(f"{hub.url}/mirror/{REPO}/resolve/v1/models/S_VQ.pth").read_bytes() == OLD


def test_a_file_is_downloaded_once(hub):
    first = fetch(FILE)
    assert hub.count("GET", "/resolve/") == 1
    assert fetch(FILE) == first
    assert hub.count("GET", "/resolve/") == 1


def test_a_commit_in_the_cache_needs_no_hub(hub):
    commit = commit_of(hub, "v1")
    path = fetch(FILE, commit)
    asked = len(hub.seen)
    assert fetch(FILE, commit) == path
    assert len(hub.seen) == asked


def test_what_is_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (
        "CodecFake/CodecFake_Source_Tracing/M1.pth",
        "owner/repo/deep/er/model.safetensors",
        "owner/repo/MODEL.PTH",
        "hf://owner/repo",
        "https://huggingface.co/owner/repo",
        "https://example.org/model.pth",
    ):
        assert is_address(text), text
    # No file of this machine can be called so; `fetch` says that nothing can.
    assert is_address("owner/repo/a\0b.pth")
    assert is_address("owner/repo/" + "x" * 5000 + ".pth")
    for text in (
        "model.pth",
        "runs/model.pth",
        "owner/repo",
        "owner/repo/readme.md",
        "./owner/repo/model.pth",
        "../owner/repo/model.pth",
        "~/owner/repo/model.pth",
        "/owner/repo/model.pth",
        r"owner\repo\model.pth",
        r"C:\owner\repo\model.pth",
        "",
    ):
        assert not is_address(text), text


def test_a_file_that_is_here_is_no_address_and_is_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(FILE)
    assert is_address(FILE)
    path.parent.mkdir(parents=True)
    # A name that is misspelt in a folder that is there should not go to the network.
    assert not is_address(f"{REPO}/S_VQQ.pth")
    path.write_bytes(b"mine")
    assert not is_address(FILE)
    assert fetch(FILE) == path
    assert is_address(f"hf://{FILE}")


def test_a_repository_that_is_not_there(hub):
    assert refusal("CodecFake/Trcing/S_VQ.pth") == (
        "CodecFake/Trcing/S_VQ.pth: the Hub has no model repository CodecFake/Trcing that you may "
        "see\n  check the name; if it is private, log in with `hf auth login` or set HF_TOKEN; "
        "a file of this machine is given by a path that exists"
    )


def test_a_private_repository(hub, monkeypatch):
    hub.add("lab/secret", {"m.pth": b"private"}, private=True)
    assert "no model repository lab/secret that you may see" in refusal("lab/secret/m.pth")
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    assert "no model repository lab/secret that you may see" in refusal("lab/secret/m.pth")
    monkeypatch.setenv("HF_TOKEN", READER)
    assert fetch("lab/secret/m.pth").read_bytes() == b"private"
    assert hub.seen[-1].token == READER


@pytest.mark.parametrize("token", [None, STRANGER])
def test_a_gated_repository(hub, monkeypatch, token):
    hub.add("lab/gated", {"m.pth": b"gated"}, gated=True)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert refusal("lab/gated/m.pth") == (
        "lab/gated/m.pth: lab/gated is gated, and you are not on its list\n"
        f"  ask for access at {hub.url}/lab/gated, then log in with `hf auth login` or set HF_TOKEN"
    )
    monkeypatch.setenv("HF_TOKEN", READER)
    assert fetch("lab/gated/m.pth").read_bytes() == b"gated"


def test_a_token_that_is_not_valid(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong0123456789")
    said = refusal(FILE)
    assert said.startswith(f"{FILE}: the Hub does not accept your token (401)\n")
    assert "hf_wrong" not in said


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("models/S_VG.pth", " (did you mean 'models/S_VQ.pth'?)"),
        ("S_VQ.pth", " (did you mean 'models/S_VQ.pth'?)"),
        ("some/deep/folder/s_vq.pth", " (did you mean 'models/S_VQ.pth'?)"),
        ("weights.safetensors", ""),
    ],
)
def test_a_file_that_the_repository_does_not_have(hub, path, near):
    assert refusal(f"{REPO}/{path}") == (
        f"{REPO} has no file '{path}'{near}\n  its files of weights: models/S_VQ.pth, models/a b.pt"
    )


def test_a_file_that_the_revision_does_not_have(hub):
    assert refusal(f"{REPO}/models/a b.pt@v1") == (
        f"{REPO} has no file 'models/a b.pt' at revision v1\n"
        "  its files of weights: models/S_VQ.pth"
    )


def test_a_repository_without_weights(hub):
    hub.add("lab/text", {"README.md": b"", "config.json": b"{}"})
    assert refusal("lab/text/m.pth").endswith(
        "it has no files of weights, only README.md, config.json"
    )


def test_a_list_of_files_that_cannot_be_had_either(hub):
    hub.faults.append(Fault(500, times=100, part="/api/"))
    assert refusal(f"{REPO}/x.pth") == (
        f"{REPO} has no file 'x.pth'\n  look at the repository's list of files"
    )


def test_a_revision_that_is_not_there(hub):
    assert refusal(f"hf://{FILE}@mian") == (
        f"{REPO} has no revision 'mian' (did you mean 'main'?)\n"
        "  its branches and tags: main, refs/pr/1, v1; a commit is given by its 40 hex digits"
    )
    assert refusal(FILE, "0" * 40).startswith(f"{REPO} has no revision '{'0' * 40}'\n")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://owner/repo", "owner/repo: no file"),
        ("hf://owner", "'owner' is no name of a model repository"),
        ("hf://", "'' is no name of a model repository"),
        ("https://huggingface.co/owner/repo", "owner/repo: no file"),
        ("https://huggingface.co/owner/repo/tree/main", "owner/repo: no file"),
        ("https://huggingface.co/owner/repo/tree/main/models", "owner/repo/models@main: not a"),
        ("https://huggingface.co/owner/repo/discussions/1", "not the page of a file on the Hub"),
        ("https://huggingface.co/datasets/owner/repo/blob/main/m.pth", "is of the Hub's datasets"),
        ("hf://spaces/owner/repo/m.pth", "the address is of the Hub's spaces"),
        ("hf://owner/repo/README.md", "owner/repo/README.md: not a file of weights"),
        (
            "https://example.org/o/r/resolve/main/m.pth",
            "https://example.org/o/r/resolve/main/m.pth",
        ),
        ("ftp://huggingface.co/o/r/resolve/main/m.pth", "not an address on the Hugging Face Hub"),
        ("hf://-x/repo/m.pth", "'-x/repo' is no name of a model repository"),
        ("hf://a--b/repo/m.pth", "'a--b/repo' is no name of a model repository"),
        ("hf://owner/repo/../../m.pth", "owner/repo/../../m.pth: not a path inside a repository"),
        ("owner/repo/a\0b.pth", "owner/repo/a\ufffdb.pth: not a path inside a repository"),
        ("hf://owner/repo//m.pth", "not a path inside a repository"),
        ("hf://owner/repo/a\\m.pth", "not a path inside a repository"),
        ("hf://owner/repo/a\x1b[2Jm.pth", "owner/repo/a\ufffd[2Jm.pth: not a path inside"),
        ("hf://owner/repo/m.pth@../../x", "'../../x' is no name of a revision"),
        ("hf://owner/repo@a b/m.pth", "'a b' is no name of a revision"),
        ("https://huggingface.co/o/r/resolve/..%2F..%2Fx/m.pth", "'../../x' is no name of a rev"),
        ("https://huggingface.co/o/r/resolve/main/..%2F..%2Fm.pth", "not a path inside"),
    ],
)
def test_what_is_no_address_of_a_file_of_weights(hub, address, message):
    said = refusal(address)
    assert message in said.splitlines()[0]
    assert len(said.splitlines()) == 2
    assert not hub.seen


def test_a_login_in_the_address_is_refused_and_not_repeated(hub):
    said = refusal(f"https://me:{READER}@huggingface.co/{REPO}/resolve/main/m.pth")
    assert said.startswith("the address holds a user name or a token\n")
    assert READER not in said


def test_nothing_answers(hub, monkeypatch):
    path = fetch(FILE)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://me:pw@127.0.0.1:9")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    assert fetch(FILE) == path
    said, _, hint = refusal(FILE, "v1").partition("\n")
    assert said.startswith(f"{FILE}@v1: the Hub cannot be reached at http://127.0.0.1:9 (")
    assert said.endswith("refused), and the cache does not hold it")
    assert hint == (
        "  check the network, the proxy and HF_ENDPOINT; or on a machine that has it: "
        f"hf download {REPO} models/S_VQ.pth --revision v1; then copy the file and give it by its "
        "path"
    )


def test_offline_mode(hub, monkeypatch):
    path = fetch(FILE)
    asked = len(hub.seen)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()  # the next session is offline
    assert fetch(FILE) == path
    assert refusal(f"{REPO}/models/a b.pt") == (
        f"{REPO}/models/a b.pt: offline mode is on, and the cache does not hold it\n"
        "  unset HF_HUB_OFFLINE where there is a network; or on a machine that has it: "
        f"hf download {REPO} 'models/a b.pt'; then copy the file and give it by its path"
    )
    assert len(hub.seen) == asked


def test_what_answers_is_not_the_hub(hub):
    hub.faults.append(Fault(without=("X-Repo-Commit",), times=9))
    said = refusal(FILE)
    assert said.startswith(
        f"{FILE}: what answers at {hub.url} is not the Hub, and the cache does not hold it\n"
    )
    assert "HF_ENDPOINT" in said


def test_trouble_that_passes_is_waited_for(hub):
    hub.faults.append(Fault(503, times=2, method="HEAD"))
    hub.faults.append(Fault(429, times=1, method="GET"))
    assert fetch(FILE).read_bytes() == NEW
    assert [seen.status for seen in hub.seen] == [503, 503, 200, 429, 200]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "the Hub is in trouble (500)"),
        (504, "the Hub is in trouble (504)"),
        (429, "too many requests from here (429)"),
        (403, "the Hub refuses access (403)"),
        (418, "the Hub refuses the request (418)"),
    ],
)
def test_trouble_that_stays(hub, method, status, message):
    hub.faults.append(Fault(status, times=100, method=method, part="/resolve/"))
    first, _, hint = refusal(FILE).partition("\n")
    assert first in (
        f"{FILE}: {message}",
        f"{FILE}: {message}, and the cache does not hold it",
    )
    assert hint
    hub.faults.clear()
    assert fetch(FILE).read_bytes() == NEW


def test_a_download_that_is_cut_goes_on_where_it_was(hub, monkeypatch):
    # What has come is written in chunks; those of the library are longer than this file.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.faults.append(Fault(cut=20_000, method="GET"))
    assert fetch(FILE).read_bytes() == NEW
    assert [seen.range for seen in hub.seen if seen.method == "GET"] == [None, "bytes=20000-"]


def test_a_download_that_is_always_cut(hub, tmp_path):
    # Nothing more comes after the first 20,000 bytes, so the library gives up.
    hub.faults.append(Fault(cut=20_000, method="GET"))
    hub.faults.append(Fault(cut=0, times=100, method="GET"))
    said = refusal(FILE)
    assert said.startswith(f"{FILE}: the download broke off (")
    assert (
        f"try again; where it keeps failing, on a machine that has it: hf download {REPO}" in said
    )
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert NEW[:20_000] not in [path.read_bytes() for path in left if path.suffix == ".pth"]
    hub.faults.clear()
    assert fetch(FILE).read_bytes() == NEW


def test_the_connection_is_closed_before_an_answer(hub):
    hub.faults.append(Fault(cut=-1, times=100))
    assert refusal(FILE).startswith(f"{FILE}: the download broke off (RemoteProtocolError)\n")


def test_a_cache_that_cannot_be_written(hub, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    assert refusal(FILE) == (
        f"{FILE}: cannot be stored in {tmp_path / 'file' / 'cache'}: {os.strerror(errno.ENOTDIR)}\n"
        "  free some space or mend its rights; HF_HOME names another folder"
    )


@pytest.mark.parametrize("token", [READER, "hf_broken0123456789\x01tail", "hf_brökën0123456789"])
@pytest.mark.parametrize(
    "fault", [Fault(500, times=100), Fault(cut=-1, times=100), Fault(403, times=100), None]
)
def test_a_token_is_never_shown(hub, monkeypatch, capfd, caplog, token, fault):
    monkeypatch.setenv("HF_TOKEN", token)
    hub.faults += [Fault(**vars(fault))] if fault else []
    said = refusal(f"{REPO}/nothing.pth")
    shown = said + "".join(capfd.readouterr()) + caplog.text
    assert token[:8] not in shown
    assert "0123456789" not in shown


def test_the_library_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert refusal(FILE) == (
        f"{FILE}: files of the Hub need the package huggingface_hub\n"
        "  pip install 'cfbench[baseline]', or download the file and give it by its path"
    )


def test_settings_of_the_environment_decide(tmp_path):
    script = (
        "import sys\nfrom cfbench.errors import CfbenchError\n"
        "from cfbench.hub.weights import fetch\n"
        "try: print(fetch(sys.argv[1]))\n"
        "except CfbenchError as error: sys.exit(str(error))"
    )

    def run(file, environment):
        command = [sys.executable, "-W", "error::UserWarning", "-c", script, file]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd=tmp_path
        )

    with Hub() as hub:
        hub.add("lab/secret", {"m.pth": b"weights", "n.pth": b"more"}, private=True)
        environment = hub.environment(tmp_path / "home", READER)
        done = run("lab/secret/m.pth", environment)
    assert (done.returncode, done.stderr) == (0, "")
    path = Path(done.stdout.strip())
    assert path.is_relative_to(tmp_path / "home" / "hub")
    assert path.read_bytes() == b"weights"
    offline = environment | {"HF_HUB_OFFLINE": "1"}
    assert run("lab/secret/m.pth", offline).stdout == done.stdout
    failed = run("lab/secret/n.pth", offline)
    assert failed.returncode == 1
    assert failed.stderr.startswith("lab/secret/n.pth: offline mode is on, and the cache")


def test_the_server_lists_what_it_has(hub):
    hub.add("lab/deep", {"a.txt": b"1", "b/c.txt": b"22", "b/d/e.txt": b"333"})
    api = huggingface_hub.HfApi(endpoint=hub.url)
    assert api.list_repo_files("lab/deep") == ["a.txt", "b/c.txt", "b/d/e.txt"]
    assert [entry.path for entry in api.list_repo_tree("lab/deep")] == ["b", "a.txt"][::-1]
    assert [entry.path for entry in api.list_repo_tree("lab/deep", "b")] == ["b/c.txt", "b/d"]
    information = api.model_info("lab/deep")
    assert [sibling.rfilename for sibling in information.siblings] == api.list_repo_files(
        "lab/deep"
    )
    assert information.sha == api.list_repo_refs("lab/deep").branches[0].target_commit
    with pytest.raises(huggingface_hub.errors.RemoteEntryNotFoundError):
        list(api.list_repo_tree("lab/deep", "x"))
    folder = huggingface_hub.snapshot_download("lab/deep", endpoint=hub.url)
    assert (Path(folder) / "b" / "d" / "e.txt").read_bytes() == b"333"


_TRANSFORMERS = """
import json, os, pathlib, sys
sys.path.insert(0, sys.argv[2])
from hub_server import Hub
home = pathlib.Path(sys.argv[1])
with Hub() as hub:
    os.environ.update(hub.environment(home))
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model
    from transformers.utils import cached_file
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    sizes |= dict(conv_dim=(8,), conv_kernel=(10,), conv_stride=(5,), num_feat_extract_layers=1)
    sizes |= dict(num_conv_pos_embeddings=2, num_conv_pos_embedding_groups=2)
    model = Wav2Vec2Model(Wav2Vec2Config(**sizes))
    model.save_pretrained(home / "saved")
    hub.add_folder("lab/tiny", home / "saved")
    loaded = Wav2Vec2Model.from_pretrained("lab/tiny")
    same = all(torch.equal(a, loaded.state_dict()[n]) for n, a in model.state_dict().items())
    optional = dict(_raise_exceptions_for_missing_entries=False)
    assert cached_file("lab/tiny", "preprocessor_config.json", **optional) is None
    print(json.dumps([same, sorted({(s.path, s.status) for s in hub.seen})]))
"""


@pytest.mark.slow
def test_transformers_loads_a_model_from_the_server(tmp_path):
    for name in ("torch", "transformers"):
        pytest.importorskip(name, exc_type=ImportError)
    script = [sys.executable, "-c", _TRANSFORMERS, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(script, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    same, asked = json.loads(done.stdout.splitlines()[-1])
    assert same
    names = {(path.rpartition("/")[2], status) for path, status in asked}
    wanted = {("config.json", 200), ("model.safetensors", 200), ("preprocessor_config.json", 404)}
    assert wanted <= names
