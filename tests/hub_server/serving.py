"""HTTP: reads requests, lets faults befall them, and writes answers."""

import re
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from hub_server.messages import Answer, Fault, Request, refuse

if TYPE_CHECKING:
    from hub_server import Hub

_PIECE = 8192  # bytes that are sent at once where the rate is bounded


class Server(ThreadingHTTPServer):
    """Listens on a free port of the loopback."""

    daemon_threads = True
    request_queue_size = 256  # many clients begin at once

    def __init__(self, hub: "Hub") -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where who asked has gone."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # clients keep their connections
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        pass  # what was asked is in `seen`

    def _serve(self) -> None:
        hub = self.server.hub
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        fault = hub.take_fault(self.command, self.path)
        kind, wanted = self.headers.get("Content-Type", ""), self.headers.get("Range")
        body = self._body(fault.read)
        request = Request(self.command, self.path, token, wanted, body, kind)
        if fault.read is not None:
            hub.note(request, 0)
            self._hang_up()
            return
        if hub.latency:
            time.sleep(hub.latency)
        if fault.hinders:
            answer = refuse(fault.status, "", "a fault of the test")
        else:
            answer = _ranged(hub.answer(request), wanted)
            if fault.status != 200:
                answer = refuse(fault.status, "", "a fault of the test")
        if fault.body is not None:
            answer = Answer(answer.status, fault.body, answer.headers)
        hub.note(request, answer.status)
        if fault.cut == -1:
            self._hang_up()
            return
        self._write(answer, fault)

    def _write(self, answer: Answer, fault: Fault) -> None:
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers, **fault.headers}
        for name, value in headers.items():
            if name not in fault.without:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self._send(answer.body[: fault.cut])
        if fault.cut is not None:
            self._hang_up()

    def _send(self, body: bytes) -> None:
        rate = self.server.hub.rate
        size = _PIECE if rate else len(body) or 1
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            if rate:
                time.sleep(size / rate)

    def _body(self, most: int | None) -> bytes:
        if self.headers.get("Transfer-Encoding", "").casefold() == "chunked" and most is None:
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        length = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(length if most is None else min(length, most))

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _ranged(answer: Answer, wanted: str | None) -> Answer:
    """The part of a file that a Range header asks for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
    if match is None or answer.status != 200:
        return answer
    size = len(answer.body)
    first, last = int(match[1]), min(int(match[2] or size), size - 1)
    if first > last:
        return Answer(416, b"", {"Content-Range": f"bytes */{size}"})
    headers = {**answer.headers, "Content-Range": f"bytes {first}-{last}/{size}"}
    return Answer(206, answer.body[first : last + 1], headers)
