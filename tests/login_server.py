"""The login of a Hub on the loopback: OpenID, as far as Gradio's own login button asks for it.

    with Login() as login:
        with Served(folder, settings, login.environment("lab/board")) as served:
            session = served.session(login.cookie(served, "ann"))

Whoever comes is logged in as the user whose name stands in `login.user`.
"""

import http.client
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

if TYPE_CHECKING:
    from space_client import Served

CLIENT, SECRET = "a-client", "a-secret"
_ALGORITHM = "ES256"


class Login:
    """The server; runs in a thread while the context is open.

    Attributes:
        user: Who is logged in next.
    """

    def __init__(self) -> None:
        self.user = "ann"
        self.key = ECKey.generate_key("P-256", {"kid": "1"})
        self.codes: dict[str, tuple[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.login = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Login":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, space: str) -> dict[str, str]:
        """The variables that a Space with a login has."""
        return {
            "SYSTEM": "spaces",
            "SPACE_ID": space,
            "OPENID_PROVIDER_URL": self.url,
            "OAUTH_CLIENT_ID": CLIENT,
            "OAUTH_CLIENT_SECRET": SECRET,
            "OAUTH_SCOPES": "openid profile",
            "AUTHLIB_INSECURE_TRANSPORT": "1",
        }

    def cookie(self, served: "Served", user: str) -> str:
        """Log in as a browser does, from the button to the page; what the browser then sends."""
        self.user = user
        _, headers, _ = served.request("GET", "/login/huggingface")
        begun = _cookie(headers)
        asked = urlsplit(headers["location"])
        assert f"{asked.scheme}://{asked.netloc}" == self.url
        connection = http.client.HTTPConnection(asked.netloc)
        connection.request("GET", f"{asked.path}?{asked.query}")
        back = urlsplit(connection.getresponse().headers["Location"])
        connection.close()
        assert back.port == served.port
        status, headers, content = served.request(
            "GET", f"{back.path}?{back.query}", headers={"Cookie": begun}
        )
        assert status in (302, 307), content
        return _cookie(headers)

    def answer(self, target: str, body: bytes) -> tuple[int, dict[str, str], object]:
        """Status, headers and content for a request."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/.well-known/openid-configuration":
                return 200, {}, {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                    "jwks_uri": f"{self.url}/keys",
                    "id_token_signing_alg_values_supported": [_ALGORITHM],
                }  # fmt: skip
            case "/keys":
                return 200, {}, {"keys": [self.key.as_dict(private=False)]}
            case "/authorize":
                assert query["client_id"] == CLIENT
                code = secrets.token_hex(8)
                self.codes[code] = self.user, query["nonce"]
                said = urlencode({"code": code, "state": query["state"]})
                joint = "&" if "?" in query["redirect_uri"] else "?"
                return 302, {"Location": query["redirect_uri"] + joint + said}, {}
            case "/token":
                code = parse_qs(body.decode())["code"][0]
                return 200, {}, self._token(*self.codes.pop(code))
        return 404, {}, {}

    def _token(self, user: str, nonce: str) -> dict[str, object]:
        now = int(time.time())
        said = {
            "iss": self.url, "aud": CLIENT, "sub": user, "nonce": nonce,
            "iat": now, "exp": now + 600, "auth_time": now,
            "name": user.title(), "preferred_username": user,
            "profile": f"{self.url}/{user}", "picture": "",
        }  # fmt: skip
        signed = jwt.encode({"alg": _ALGORITHM, "kid": "1"}, said, self.key)
        return {
            "access_token": secrets.token_hex(8),
            "token_type": "bearer",
            "expires_in": 600,
            "scope": "openid profile",
            "id_token": signed,
        }


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self, body: bytes) -> None:
        status, headers, said = self.server.login.answer(self.path, body)  # type: ignore[attr-defined]
        content = json.dumps(said).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _cookie(headers: "dict[str, str]") -> str:
    return headers["set-cookie"].partition(";")[0]
