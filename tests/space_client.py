"""The app of a leaderboard in a process of its own, and what a browser says to it.

    with Served(tmp_path, {"track": "example", ...}) as served:
        session = served.session()
        path = session.upload("p.csv", content)
        report, *_ = session.press("cf-check", session.file(path, "p.csv"), "", False)

Run as a program, it serves the settings of a file: `space_client.py SPACE.toml PORT`.
"""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

WAIT = 60.0


class Served:
    """The app; `settings` is the content of space.toml."""

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], environment: Mapping[str, str] = {}
    ) -> None:
        self.folder, self.settings = folder, {"rebuild_minutes": 0.05} | dict(settings)
        self._environment = dict(environment)
        self.port = _free_port()

    def __enter__(self) -> "Served":
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "space.toml"
        path.write_text(tomli_w.dumps(self.settings), encoding="utf-8")
        self._log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(path), str(self.port)],
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | self._environment,
        )
        try:
            self._wait(lambda: self.get("/")[0] == 200, "does not answer")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        return self.request("GET", path)

    def session(self, cookie: str = "") -> "Session":
        return Session(self, cookie)

    def wait_for_page(self, path: str, holds: str) -> str:
        """The page of the leaderboard, when it holds a text."""
        self._wait(lambda: holds.encode() in self.get(path)[2], f"{path} has no {holds!r}")
        return self.get(path)[2].decode()

    def _wait(self, done: Any, what: str) -> None:
        end = time.monotonic() + WAIT
        while True:
            try:
                if done():
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the app {what}: {self.log}")
            time.sleep(0.1)


class Session:
    """A page that is open in a browser."""

    def __init__(self, served: Served, cookie: str = "") -> None:
        self.served = served
        self._headers = {"Cookie": cookie} if cookie else {}
        self._hash = secrets.token_hex(6)
        config = json.loads(served.request("GET", "/config", headers=self._headers)[2])
        names = {one["id"]: one["props"].get("elem_id") for one in config["components"]}
        self._functions = {
            names.get(target): one["id"]
            for one in config["dependencies"]
            for target, _ in one["targets"]
        }

    def upload(self, name: str, content: bytes) -> str:
        """The path that the app has given the file."""
        border = secrets.token_hex(8)
        body = (
            f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode() + content
        body += f"\r\n--{border}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
        status, _, answer = self.served.request(
            "POST", "/gradio_api/upload", body, headers | self._headers
        )
        assert status == 200, (status, answer)
        return str(json.loads(answer)[0])

    @staticmethod
    def file(path: str, name: str) -> dict[str, Any]:
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def check(self, name: str, content: bytes, logits: bool = False) -> str:
        """Upload and check a file; the report."""
        path = self.upload(name, content)
        return str(self.press("cf-check", self.file(path, name), "", logits)[0])

    def open(self) -> list[Any]:
        """What the page's function gives when it is opened."""
        return self._call(self._functions[None], [])

    def press(self, button: str, *values: Any) -> list[Any]:
        """What the button's function gives in the end."""
        return self._call(self._functions[button], list(values))

    def _call(self, function: int, values: list[Any]) -> list[Any]:
        body = {"data": values, "fn_index": function, "session_hash": self._hash}
        headers = {"Content-Type": "application/json"} | self._headers
        status, _, answer = self.served.request(
            "POST", "/gradio_api/queue/join", json.dumps(body).encode(), headers
        )
        assert status == 200, (status, answer)
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=WAIT)
        try:
            connection.request(
                "GET", f"/gradio_api/queue/data?session_hash={self._hash}", headers=self._headers
            )
            for line in connection.getresponse():
                if not line.startswith(b"data:"):
                    continue
                told = json.loads(line[5:])
                if told["msg"] == "process_completed":
                    assert told["success"], told
                    return list(told["output"]["data"])
        finally:
            connection.close()
        raise AssertionError("no answer")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    """Serve."""
    from cfbench.space.app import serve
    from cfbench.space.settings import read_settings

    serve(read_settings(Path(sys.argv[1])), port=int(sys.argv[2]))


if __name__ == "__main__":
    main()
