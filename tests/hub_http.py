"""HTTP side of the Hub's stand-in: bodies, ranges, faults, tokens and errors."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import struct
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from hub_store import TOKEN, Blob, Repo

if TYPE_CHECKING:
    from hub_stand_in import Hub


class Refused(Exception):
    """Ends a request with an error status."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        self.status, self.code, self.message = status, code, message


class Connection(http.server.BaseHTTPRequestHandler):
    """One connection. `route` of a subclass returns a JSON value, or None if it has answered itself."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.hub.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.hub.connections.discard(self.request)
        with contextlib.suppress(OSError):
            super().finish()

    def handle_any(self) -> None:
        self.line = f"{self.command} {unquote(urlsplit(self.path).path)}"
        self.query = parse_qs(urlsplit(self.path).query)
        self.hub.requests.append(self.line)
        try:
            self.body = self.read_body()
            if late := self.hub.meet(self.line, "late"):
                self.hub.stopping.wait(late.seconds)
            if fault := self.hub.meet(self.line, "401", "403", "404", "500", "503", "gated"):
                gated = fault.kind == "gated"
                raise Refused(403 if gated else int(fault.kind), "GatedRepo" if gated else "", "out of order")
            answer = self.route()
            if answer is not None:
                self.send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})
        except Refused as refused:
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.message}
            self.send(refused.status, json.dumps({"error": refused.message}).encode(),
                      {key: value for key, value in headers.items() if value})  # fmt: skip
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def log_message(self, *_):
        pass

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
                if self.hub.meet(self.line, "cut"):
                    self.reset()
            self.rfile.readline()
            return data
        length = int(self.headers.get("Content-Length") or 0)
        if length and self.command in ("PUT", "POST") and self.hub.meet(self.line, "cut"):
            self.rfile.read(length // 2)
            self.reset()
        return self.rfile.read(length)

    def reset(self) -> None:
        """Resets the connection, as a network failure does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise ConnectionResetError

    def send(self, status: int, data: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(data) if length is None else length)}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if data and self.hub.meet(self.line, "wrong"):
            data = bytes([data[0] ^ 1]) + data[1:] if len(data) < 999 else data[:-1] + bytes([data[-1] ^ 1])
        for kind in ("cut", "stall"):
            if len(data) > 1 and (fault := self.hub.meet(self.line, kind)):
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                if kind == "stall":
                    self.hub.stopping.wait(fault.seconds)
                self.reset()
        self.wfile.write(data)

    def user(self, needed: bool = True) -> bool:
        """Whether the request carries the valid token; any other token is refused."""
        given = self.headers.get("Authorization")
        if given and given != f"Bearer {TOKEN}":
            raise Refused(401, "", "Invalid credentials in Authorization header")
        if needed and not given:
            raise Refused(401, "", "Invalid username or password.")
        return bool(given)

    def find(self, kind: str, id: str, write: bool = False) -> Repo:
        known = self.user(needed=write)
        repo = self.hub.repos.get((kind, id))
        if repo is None or (repo.private and not known):
            raise Refused(404 if known else 401, "RepoNotFound", "Repository not found")
        if repo.gated and "/resolve/" in self.path:
            raise Refused(403 if known else 401, "GatedRepo", f"Access to model {id} is restricted.")
        if write and not id.startswith("lab/"):
            raise Refused(403, "", f"You don't have the rights to write to {id}")
        return repo

    def at(self, repo: Repo, revision: str) -> tuple[str, dict[str, Blob]]:
        sha = repo.find(unquote(revision))
        if sha is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha, repo.commits[sha]

    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    def part(self, data: bytes, headers: dict[str, str]) -> None:
        """Sends `data`, or the part that the Range header requests."""
        total = len(data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.send(200, data, headers | {"Accept-Ranges": "bytes"})
        start, end = int(wanted[1]), min(int(wanted[2] or total - 1), total - 1)
        return self.send(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{total}"})
