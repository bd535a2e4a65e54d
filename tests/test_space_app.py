"""The app over HTTP: many at once, what is refused, what stays private, login, sending."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import cfbench
import entries
from browser import Browser, need_chromium
from cfbench.errors import CfbenchError
from cfbench.space.pages import HELD_BACK
from cfbench.space.settings import make_settings
from hub_server import Hub
from login_server import Login
from space_client import Served, Session
from test_space_intake import TOMORROW, write_track
from watching import Watch

pytest.importorskip("gradio")
pytestmark = pytest.mark.slow

MIB = 2**20
DESCRIBED = ("Name", "Team", "Text.", "me@example.org", "CC0-1.0", "nothing", *[""] * 6)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("app")
    entries.make(folder / "board", folder / "work", "There before")
    limits = {"upload_mib": 1, "per_day": 1000, "at_once": 2, "body_seconds": 2}
    settings = {
        "track": "example", "board": str(folder / "board"), "state": str(folder / "state"),
        "limits": limits,
    }  # fmt: skip
    with Served(folder / "served", settings) as served:
        served.wait_for_page("/board/index.html", "There before")
        yield served


def content(frame: pl.DataFrame) -> bytes:
    return frame.write_csv().encode()


def send(session: Session, *described: str) -> str:
    """What is said of an entry that is sent."""
    # Where Gradio keeps a state, a request has nothing to say.
    return str(session.press("cf-send", None, "Yes", *(described or DESCRIBED))[0])


def headline(report: str) -> list[float]:
    """The values of a report's table, without intervals."""
    return [float(cell) for cell in re.findall(r"<td>(-?\d+\.\d)", report)]


def expected(frame: pl.DataFrame) -> list[float]:
    card = cfbench.score(frame, track="example")
    tracing = [card.tasks[name] for name in ("vq", "aux", "dec")]

    def shown(number: Any) -> float:
        return float(f"{100 * number:.1f}")

    def value(task: Any, split: str) -> float:
        return task.splits[split].overall.metrics[task.headline].value

    means = [shown(sum(value(task, split) for task in tracing) / 3) for split in ("id", "ood")]
    rows = [
        [shown(value(task, "id")), shown(value(task, "ood")), shown(task.drop.number.value)]
        for task in card.tasks.values()
    ]
    return [*means, *(number for row in rows for number in row)]


def test_ten_uploads_at_once_each_get_their_own_numbers(app):
    frames = [entries.confused(0.09 * number, number) for number in range(10)]
    with Watch(app.process.pid) as watch, ThreadPoolExecutor(10) as pool:
        reports = list(
            pool.map(lambda i: app.session().check(f"p{i}.csv", content(frames[i])), range(10))
        )
    for number, (frame, report) in enumerate(zip(frames, reports, strict=True)):
        assert f"p{number}.csv: no problems" in report
        assert headline(report) == expected(frame)
    assert len(set(reports)) == 10
    # Two at once and no more, whatever comes.
    assert watch.at_once == 2
    assert watch.most < 1200 * MIB
    with Watch(app.process.pid) as after:
        time.sleep(0.5)
    assert after.at_once == 0
    assert after.most < 500 * MIB


class TestRefusedBeforeItIsRead:
    def converse(self, app: Served, head: str, *pieces: bytes) -> tuple[bytes, int]:
        """What is answered to a request that is sent piece by piece, and how much of it went."""
        with socket.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
            connection.sendall(head.format(port=app.port).replace("\n", "\r\n").encode())
            went = 0
            try:
                for piece in pieces:
                    connection.sendall(piece)
                    went += len(piece)
                    time.sleep(0.002)
            except OSError:
                pass  # it was hung up on
            found = b""
            try:
                while more := connection.recv(65536):
                    found += more
            except OSError:
                pass
            return found, went

    HEAD = (
        "POST /gradio_api/upload HTTP/1.1\nHost: 127.0.0.1:{port}\n"
        "Content-Type: multipart/form-data; boundary=x\n"
    )
    START = b'--x\r\nContent-Disposition: form-data; name="files"; filename="p.csv"\r\n\r\n'

    def test_a_length_that_is_too_large(self, app):
        found, _ = self.converse(app, f"{self.HEAD}Content-Length: {2 * MIB}\n\n")
        assert found.startswith(b"HTTP/1.1 413")
        assert b"The file is larger than 1 MiB. Write Parquet" in found

    def test_a_body_whose_length_is_not_given(self, app):
        state = Path(app.settings["state"])
        app.session().check("whole.csv", b"utt_id\na\n")
        piece = b"10000\r\n" + b"0" * 65536 + b"\r\n"
        first = f"{len(self.START):x}\r\n".encode() + self.START + b"\r\n"
        found, went = self.converse(
            app, f"{self.HEAD}Transfer-Encoding: chunked\n\n", first, *[piece] * 400
        )
        assert found.startswith(b"HTTP/1.1 413") or went < 400 * len(piece)
        # What was broken off is deleted when nobody can be writing it any more.
        broken = [path for path in (state / "uploads").iterdir() if path.is_file()]
        assert sum(path.stat().st_size for path in broken) <= MIB + 65536
        for path in broken:
            os.utime(path, (time.time() - 60,) * 2)
        app.session().check("whole.csv", b"utt_id\na\n")
        assert not [path for path in broken if path.exists()]
        assert list((state / "uploads").rglob("whole.csv"))

    def test_a_body_that_does_not_come(self, app):
        begun = time.monotonic()
        found, _ = self.converse(app, f"{self.HEAD}Content-Length: 5000\n\n", self.START)
        assert found.startswith(b"HTTP/1.1 408")
        assert b"The request took too long." in found
        assert time.monotonic() - begun < 15

    def test_a_form_that_is_too_large(self, app):
        head = "POST /gradio_api/queue/join HTTP/1.1\nHost: 127.0.0.1:{port}\n"
        found, _ = self.converse(app, f"{head}Content-Length: 300000\n\n")
        assert found.startswith(b"HTTP/1.1 413")

    @pytest.mark.parametrize(
        "path",
        [
            "/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/gradio_api/info",
            "/gradio_api/openapi.json", "/openapi.json", "/docs", "/gradio_api/call/check_here",
            "/gradio_api/run/predict", "/gradio_api/component_server", "/monitoring",
            "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/deep_link", "/.env", "/admin",
            "/board/../../etc/passwd", "/board/%2e%2e/%2e%2e/etc/passwd", "/board/.verified",
            "/board/there-before/predictions.csv", "/static/../../../../../../etc/passwd",
            "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/routes.py", "/svelte/../../../routes.py",
        ],
    )  # fmt: skip
    def test_a_path_that_is_not_of_the_page(self, app, path):
        status, _, body = app.get(path)
        assert status in (403, 404)
        assert b"root:" not in body
        assert len(body) < 300

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
    def test_a_method_that_the_page_does_not_use(self, app, method):
        assert app.request(method, "/board/index.html")[0] == 405

    @pytest.mark.parametrize(
        ("host", "status"),
        [("evil.example", 400), ("evil.example:80", 400), ("127.0.0.1.evil.example", 400),
         ("localhost", 200), ("127.0.0.1:1", 200), ("", 400)],
    )  # fmt: skip
    def test_a_name_that_somebody_else_has_given_it(self, app, host, status):
        assert app.request("GET", "/", headers={"Host": host})[0] == status

    @pytest.mark.parametrize(
        "path",
        [
            "/etc/passwd", "https://example.org/p.csv", "http://127.0.0.1:9/p.csv",
            "{root}/work/p.csv", "{root}/state/uploads/../../work/p.csv", "../work/p.csv",
            "{root}/state/uploads", "{root}/state/uploads/link.csv", "p.csv\0",
        ],
    )  # fmt: skip
    def test_a_file_that_was_not_uploaded(self, app, path):
        root = Path(app.settings["state"]).parent
        assert (root / "work" / "p.csv").is_file()
        link = root / "state" / "uploads" / "link.csv"
        if not link.is_symlink():
            link.symlink_to(root / "work" / "p.csv")
        given = Session.file(path.format(root=root), "p.csv")
        with pytest.raises(AssertionError, match="'success': False"):
            app.session().press("cf-check", given, "", False)

    def test_headers_of_security_are_on_every_answer(self, app):
        for path in ("/", "/board/index.html", "/config", "/nothing"):
            _, headers, _ = app.get(path)
            assert "default-src 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "SAMEORIGIN"
            assert "server" not in headers

    def test_the_page_tells_nothing_of_this_machine(self, app):
        session = app.session()
        told = app.get("/")[2] + app.get("/config")[2] + app.get("/theme.css")[2]
        told += session.check("p.csv", b"utt_id,nothing\na,1\n").encode()
        for part in (str(app.folder.parent), str(Path.home()), sys.prefix):
            assert part.encode() not in told


def test_a_board_is_asked_for_once(app):
    _, headers, body = app.get("/board/index.html")
    tag = {"If-None-Match": headers["etag"]}
    status, _, again = app.request("GET", "/board/index.html", headers=tag)
    assert (status, again) == (304, b"")
    assert b"There before" in body


@contextmanager
def private_app(folder: Path, reveal: str) -> Iterator[Served]:
    settings = {
        "track": str(folder / "track" / "track.toml"), "board": str(folder / "board"),
        "hidden": str(folder / "track" / "hidden" / "labels.csv"),
        "state": str(folder / "state"), "reveal": reveal,
    }  # fmt: skip
    with Served(folder / "served", settings) as served:
        yield served


def numbers_of(record: Any) -> set[str]:
    """Every value of a result and its interval, in full, but not shares of a few clips."""
    found = set()
    for key, value in record.items():
        if isinstance(value, dict):
            found |= numbers_of(value)
        elif key in ("value", "low", "high") and isinstance(value, float):
            found |= {repr(value)} if len(repr(value)) > 10 else set()
    return found


def test_what_is_held_back_is_in_no_answer_before_its_day_and_then_it_is(tmp_path):
    write_track(tmp_path / "track")
    with private_app(tmp_path, TOMORROW.isoformat()) as served:
        session = served.session()
        report = session.check("p.csv", content(entries.example_predictions()))
        assert f"shown from {TOMORROW.isoformat()} (UTC) on" in report
        outcome = send(session, "A system", *DESCRIBED[1:])
        assert "a-system, version 1 is written" in outcome
        (kept,) = (tmp_path / "state" / "private").rglob("*.json")
        record = json.loads(kept.read_text())
        # Error rates of so few clips are round numbers, which stand elsewhere too.
        tracing = {name: task for name, task in record["result"]["tasks"].items() if name != "bin"}
        secret = numbers_of(tracing) | {record["samples"][:40]}
        assert len(secret) > 15
        served.wait_for_page("/board/index.html", "A system")
        pages = [
            "index.html", "compare.html", "leaderboard.json", "leaderboard.csv", "leaderboard.md",
            "systems/a-system.html", "badges/a-system.svg",
        ]  # fmt: skip
        told = [report, outcome, served.log]
        asked = ["/", "/config", "/theme.css", *(f"/board/{page}" for page in pages)]
        told += [served.get(path)[2].decode() for path in asked]
        written = [path for path in (tmp_path / "board").rglob("*.*") if path.is_file()]
        told += [path.read_bytes().decode("latin-1") for path in written]
        for text in told:
            assert not [number for number in secret if number in text]
        for path in (
            f"/board/{HELD_BACK}/index.html",
            f"/gradio_api/file={kept}",
            f"/gradio_api/file={tmp_path / 'track' / 'hidden' / 'labels.csv'}",
            f"/board/private/a-system/{kept.name}",
        ):
            assert served.get(path)[0] == 404
    with private_app(tmp_path, "2026-01-01") as served:
        page = served.wait_for_page(f"/board/{HELD_BACK}/index.html", "A system")
        assert "held-back part" in page
        (board,) = json.loads(served.get(f"/board/{HELD_BACK}/leaderboard.json")[2])
        shown = board["systems"]["a-system"]["result"]
        assert (
            shown["tasks"]["vq"]["splits"]["ood"]
            == record["result"]["tasks"]["vq"]["splits"]["ood"]
        )
        # The page leads there.
        assert f'href="board/{HELD_BACK}/index.html"' in str(served.session().open()[0])


class TestLogin:
    @pytest.fixture
    def login(self) -> Iterator[Login]:
        with Login() as found:
            yield found

    def test_each_user_has_so_many_a_day(self, tmp_path, login):
        settings = {
            "track": "example", "board": str(tmp_path / "board"), "state": str(tmp_path / "state"),
            "limits": {"per_day": 1, "failed_per_day": 1},
        }  # fmt: skip
        environment = login.environment("lab/board")
        with Served(tmp_path / "served", settings, environment) as served:
            good = content(entries.example_predictions())
            ann, bob = (served.session(login.cookie(served, name)) for name in ("ann", "bob"))
            assert "p.csv: no problems" in ann.check("p.csv", good)
            # Another page of the same user is no way around it, and no other user is hindered.
            again = served.session(login.cookie(served, "ann"))
            for _ in range(2):
                assert "1 of your uploads were scored today" in again.check("p.csv", good)
            assert "not accepted" in bob.check("p.csv", b"utt_id,vq_real\n")
            assert "1 of your uploads were refused today" in bob.check("p.csv", good)
            stranger = served.session()
            assert "You are not logged in." in stranger.check("p.csv", good)
            assert "You are not logged in." in send(stranger)
            ann_cookie = ann._headers["Cookie"]
            middle = len(ann_cookie) // 2
            forged = ann_cookie[:middle] + ("A" if ann_cookie[middle] != "A" else "B")
            forged += ann_cookie[middle + 1 :]
            assert "You are not logged in." in served.session(forged).check("p.csv", good)
            # What was scored for a user is sent by that user only, whoever knows of the page.
            bob._hash = ann._hash
            assert "somebody else had this scored" in send(bob)
            assert "name, version 1 is written" in send(ann)
            (entry,) = (tmp_path / "board").glob("*/submission.toml")
            assert 'owner = "ann"' in entry.read_text()
        # A restart forgets nothing.
        with Served(tmp_path / "served", settings, environment) as served:
            session = served.session(login.cookie(served, "ann"))
            assert "1 of your uploads were scored today" in session.check("p.csv", good)

    def test_the_button_logs_in_and_the_page_of_a_space_asks_nobody_else(self, tmp_path, login):
        need_chromium()
        settings = {
            "track": "example", "board": str(tmp_path / "board"), "state": str(tmp_path / "state"),
        }  # fmt: skip
        with (
            Served(tmp_path / "served", settings, login.environment("lab/board")) as served,
            Browser() as browser,
            browser.open(served.address) as page,
        ):
            page.get_by_role("tab", name="Submit").click()
            page.get_by_text("Log in with your Hub account").wait_for()
            with page.expect_response(lambda one: "/login/callback" in one.url):
                page.get_by_role("button", name="Log in with Hugging Face").click()
            page.get_by_role("tab", name="Leaderboard", selected=True).wait_for()
            page.get_by_role("tab", name="Submit").click()
            page.get_by_text("Logged in as ann.").wait_for()

    def test_where_gradio_would_log_in_everybody_as_the_owner_there_is_no_app(self, tmp_path):
        from cfbench.space.app import make_app

        given = {"board": tmp_path / "board", "state": tmp_path / "state", "track": "example"}
        with pytest.raises(CfbenchError, match="there is no login here"):
            make_app(make_settings(given | {"login": True}))


class TestOnTheHub:
    @pytest.fixture
    def hub(self) -> Iterator[Hub]:
        with Hub() as hub:
            hub.add("lab/results", {"README.md": b"# Results\n"}, kind="dataset")
            yield hub

    def test_a_pinned_address_is_fetched_scored_and_offered(self, tmp_path, hub):
        good = content(entries.confused(0.1))
        commit = hub.add("ann/answers", {"deep/p.csv": good}, kind="dataset")
        secret = hub.add("lab/hidden", {"p.csv": good}, kind="dataset", private=True)
        settings = {"track": "example", "results": "lab/results", "state": str(tmp_path / "state")}
        token = hub.sign_up("lab")
        with (
            Login() as login,
            Served(
                tmp_path / "served",
                settings,
                hub.environment(tmp_path / "home", token) | login.environment("lab/board"),
            ) as served,
        ):
            session = served.session(login.cookie(served, "ann"))
            address = f"{hub.url}/datasets/ann/answers/resolve/{commit}/deep/p.csv"
            report = str(session.press("cf-check", None, address, False)[0])
            assert headline(report) == expected(entries.confused(0.1))
            outcome = send(session)
            assert f'href="{hub.url}/datasets/lab/results/discussions/1"' in outcome
            (request,) = hub.repos["dataset", "lab/results"].pull_requests
            assert request.title == "Add name"
            assert "Sent by the Hub user `ann`" in request.description
            offered = hub.files("lab/results", revision="refs/pr/1")
            described = offered["submissions/name/submission.toml"].decode()
            assert f"ann/answers/resolve/{commit}/deep/p.csv" in described
            assert "submissions/name/predictions.csv" not in offered
            # What the app's own login may read is not read for others.
            hidden = f"{hub.url}/datasets/lab/hidden/resolve/{secret}/p.csv"
            report = str(session.press("cf-check", None, hidden, False)[0])
            assert "not accepted" in report
            assert not headline(report)
            # Merged, it is on the board without a restart.
            hub.add("lab/results", offered, kind="dataset")
            served.wait_for_page("/board/index.html", "Name")

    def test_deploying_without_a_login_is_told_and_not_done(self, tmp_path, hub, run_cli):
        out = tmp_path / "space"
        given = ("deploy", "lab/board", "--results", "lab/results", "--track", "example")
        done = run_cli("leaderboard", *given, "--out", out)
        assert done.code == 1
        assert "not logged in" in done.err
        assert (out / "app.py").is_file()
        assert not [one for one in hub.repos if one[0] == "space"]

    def test_what_deploy_writes_really_starts(self, tmp_path, hub, run_cli):
        out = tmp_path / "space"
        given = ("deploy", "lab/board", "--results", "lab/results", "--track", "example")
        done = run_cli("leaderboard", *given, "--dry-run", "--out", out)
        assert done.code == 0, done.err
        assert not [one for one in hub.repos if one[0] == "space"]
        assert {path.name for path in out.iterdir()} == {
            "README.md", "app.py", "requirements.txt", "space.toml",
        }  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with Login() as login:
            environment = hub.environment(tmp_path / "home", hub.sign_up("lab"))
            environment |= login.environment("lab/board") | {"GRADIO_SERVER_PORT": str(port)}
            with running([sys.executable, "app.py"], out, environment) as process:
                assert b"cfbench leaderboard" in answered(port, process)
                assert (out / "state").is_dir()


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Any:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def answered(port: int, process: "subprocess.Popen[bytes]") -> bytes:
    """The first page, when there is one."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            if answer.status == 200:
                return answer.read()
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise AssertionError(f"no page; the process has ended with {process.returncode}")


def test_serve_runs_on_a_folder_until_it_is_interrupted(tmp_path):
    entries.make(tmp_path / "board", tmp_path / "work", "There before")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cfbench", "leaderboard", "serve", "board"]
    with running([*command, "--track", "example", "--port", str(port)], tmp_path) as process:
        assert b"cfbench leaderboard" in answered(port, process)
        # One that is being looked at hinders nobody from ending it.
        with socket.create_connection(("127.0.0.1", port)) as looking:
            looking.sendall(b"GET /gradio_api/heartbeat/abc HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            looking.recv(100)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) in (0, 130)
    log = (tmp_path / "log").read_text()
    assert f"the leaderboard is at http://127.0.0.1:{port} until Ctrl-C" in log
    assert "Traceback" not in log
    assert "Error" not in log
