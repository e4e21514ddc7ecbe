"""Stand in for what clouds give out keys by, on this machine: a token endpoint, and a container's credentials."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class KeyGiver:
    """Be one endpoint: each answer is another key, which lasts as long as is set."""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.asked: list[dict[str, list[str]]] = []
        self.lasts_s = 3_600
        self.refuses = False
        giver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                giver.asked.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
                self._say({"access_token": giver.next(), "expires_in": giver.lasts_s, "token_type": "Bearer"})

            def do_GET(self) -> None:
                key = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": f"secret of {giver.next()}"}
                self._say(key | {"Token": giver.given[-1], "Expiration": "2999-01-01T00:00:00Z"})

            def _say(self, answer: dict[str, object]) -> None:
                body = json.dumps(answer).encode()
                self.send_response(503 if giver.refuses else 200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def next(self) -> str:
        """Name the next key."""
        self.given.append(f"key-{len(self.given) + 1}")
        return self.given[-1]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def key_giver() -> Iterator[KeyGiver]:
    giver = KeyGiver()
    try:
        yield giver
    finally:
        giver.close()


def service_account(file: Path, token_url: str) -> Path:
    """Write an account's file, whose tokens come from an endpoint here."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "house",
        "private_key_id": "1",
        "private_key": key.private_bytes(*kinds).decode(),
        "client_email": "bursar@house.iam.gserviceaccount.com",
        "token_uri": token_url,
    }
    file.write_text(json.dumps(account))
    return file


def sigv4(request: bytes, secret: str, region: str, service: str) -> str:
    """Sign a request anew, by AWS' document alone ("Signature Version 4 signing process"); returns the signature."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    canonical = "".join(f"{name}:{headers[name]}\n" for name in signed.split(";"))
    path, _, query = path.partition("?")
    parts = (method, quote(path), query, canonical, signed, hashlib.sha256(body).hexdigest())
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    at = headers["x-amz-date"]
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    text = "\n".join(("AWS4-HMAC-SHA256", at, scope, digest))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
