"""A stand-in for the Hugging Face Hub on loopback, which the real client talks to through HF_ENDPOINT.

It keeps repositories in memory and answers the routes that huggingface_hub, transformers and datasets use to create,
upload to, list, tag and download a repository. `Hub.fault` makes it misbehave like a network does.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_" + "standinstandinstandinstandin12345"
LARGE = (".safetensors", ".onnx", ".pt2", ".bin", ".parquet", ".arrow", ".png", ".jpg", ".zip")
KINDS = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}


@dataclass(frozen=True)
class Blob:
    """One file's content; `large` ones travel by LFS and are known by their sha256."""

    data: bytes
    large: bool

    @property
    def oid(self) -> str:
        """As git names it."""
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.oid


@dataclass
class Repo:
    """A repository: commits in order, each with its whole tree."""

    kind: str
    id: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    sdk: str | None = None

    def commit(self, files: dict[str, Blob], message: str, branch: str = "main") -> str:
        facts = f"{self.kind}{self.id}{len(self.commits)}{message}{time.time_ns()}"
        sha = hashlib.sha1(facts.encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha

    def find(self, revision: str) -> str | None:
        revision = revision.removeprefix("refs/heads/")
        found = self.branches.get(revision) or self.tags.get(revision) or revision
        return found if found in self.commits else None

    @property
    def files(self) -> dict[str, Blob]:
        """The tree at main."""
        return self.commits[self.branches["main"]]


@dataclass
class Fault:
    """What goes wrong with requests "METHOD /path" that match `pattern`, `times` times (None: always).

    `kind` is a status ("500"), "gated", "cut" (half of the body goes through, then the connection is reset), "stall"
    (half of it, then silence), "late" (an answer after `seconds`) or "wrong" (one byte of the body is another).
    """

    pattern: str
    kind: str
    times: int | None = None
    seconds: float = 30.0
    met: int = 0


class Hub:
    """The server with its state; use as a context manager."""

    def __init__(self):
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        handler = type("Handler", (Routes,), {"hub": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # large files come from another host than the Hub's, as on the real one
        self.store = f"http://localhost:{self.server.server_port}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):  # those kept alive too: the host is gone
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def environment(self, home, token: bool = True) -> dict[str, str]:
        """Variables for a process that should talk to this Hub, with a cache of its own below `home`."""
        known = {"HF_TOKEN": TOKEN} if token else {}
        return known | {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
                        "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                        "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip

    def add(self, id: str, files: dict[str, bytes] | None = None, kind: str = "models", **facts) -> Repo:
        """A repository with one commit."""
        repo = self.repos.setdefault((kind, id), Repo(kind, id, **facts))
        repo.commit({name: Blob(data, name.endswith(LARGE)) for name, data in (files or {}).items()}, "start")
        return repo

    def repo(self, id: str, kind: str = "models") -> Repo:
        return self.repos[kind, id]

    def fault(self, pattern: str, kind: str, times: int | None = None, seconds: float = 30.0) -> Fault:
        self.faults.append(Fault(pattern, kind, times, seconds))
        return self.faults[-1]

    def meet(self, line: str, *kinds: str) -> Fault | None:
        """The fault, if any, that this request meets now."""
        with self.lock:
            for fault in self.faults:
                if fault.kind in kinds and re.search(fault.pattern, line) and fault.times != fault.met:
                    fault.met += 1
                    return fault
        return None


class Refused(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, code: str = "", message: str = ""):
        self.status, self.code, self.message = status, code, message


class Routes(http.server.BaseHTTPRequestHandler):
    """The routes, by method; each handler returns a JSON value or has answered itself (None)."""

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
        """Ends the connection as a network failure does."""
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
        """Whether the request carries the good token; a bad one is always refused."""
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

    def route(self):
        path = urlsplit(self.path).path.strip("/")
        if match := re.fullmatch(r"lfs/([0-9a-f]{64})", path):
            return self.stored(match[1])
        if path == "lfs/verify":
            stored = self.hub.large.get(self.json()["oid"], b"")
            if len(stored) != self.json()["size"]:
                raise Refused(400, "", "size of the object differs")
            return {}
        if match := re.fullmatch(r"(datasets/|spaces/|)([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.batch(match[2])
        if match := re.fullmatch(r"(datasets/|spaces/|)([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(match[1].strip("/") or "models", match[2], match[3], unquote(match[4]))
        if path == "api/whoami-v2":
            self.user()
            return {"type": "user", "name": "lab", "orgs": [], "auth": {"type": "access_token"}}
        if path == "api/repos/create":
            return self.create()
        if path == "api/validate-yaml":
            return self.validate()
        if match := re.fullmatch(r"api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/(.*))?", path):
            verb, _, rest = (match[3] or "revision/main").partition("/")
            handler = getattr(self, f"api_{verb.replace('-', '_')}", None)
            if handler:
                return handler(match[1], match[2], rest)
        if path != "api/agent-harnesses":  # the client's own curiosity; a Hub without that route will do
            self.hub.unknown.append(self.line)
        raise Refused(404, "", "no such route")

    def stored(self, oid: str):
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != oid:
                raise Refused(400, "", "the content does not have this sha256")
            self.hub.large[oid] = self.body
            return self.send(200, b"", {"ETag": f'"{oid}"'})
        return self.part(self.hub.large[oid], {})

    def part(self, data: bytes, headers: dict[str, str]) -> None:
        """Sends `data`, or the part that a Range header asks for."""
        total = len(data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.send(200, data, headers | {"Accept-Ranges": "bytes"})
        start, end = int(wanted[1]), min(int(wanted[2] or total - 1), total - 1)
        return self.send(206, data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{total}"})

    def batch(self, id: str):
        self.user()
        objects = []
        for entry in self.json()["objects"]:
            actions = {"upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"},
                       "verify": {"href": f"{self.hub.url}/lfs/verify"}}  # fmt: skip
            objects.append(entry if entry["oid"] in self.hub.large else entry | {"actions": actions})
        return {"transfer": "basic", "objects": objects}

    def resolve(self, kind: str, id: str, revision: str, name: str):
        sha, files = self.at(self.find(kind, id), revision)
        if name not in files:
            raise Refused(404, "EntryNotFound", "Entry not found")
        blob = files[name]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{blob.etag}"'}
        if not blob.large:
            return self.part(blob.data, headers)
        self.hub.large[blob.sha256] = blob.data
        linked = {"X-Linked-ETag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        return self.send(302, b"", headers | linked | {"Location": f"{self.hub.store}/lfs/{blob.sha256}"})

    def create(self):
        self.user()
        facts = self.json()
        id, kind = f"{facts.get('organization') or 'lab'}/{facts['name']}", f"{facts.get('type') or 'model'}s"
        if not id.startswith("lab/"):
            raise Refused(403, "", f"You don't have the rights to create a {kind[:-1]} under this namespace")
        with self.hub.lock:
            if (kind, id) in self.hub.repos:
                self.send(409, json.dumps({"error": "exists", "url": f"{self.hub.url}/{KINDS[kind]}{id}"}).encode(), {})
                return None
            private = facts.get("private", False) or facts.get("visibility") == "private"
            attributes = {".gitattributes": b"*.safetensors filter=lfs\n"}
            self.hub.add(id, attributes, kind, private=private, sdk=facts.get("sdk"))
        return {"url": f"{self.hub.url}/{KINDS[kind]}{id}", "name": id}

    def validate(self):
        """Refuses what the Hub would: front matter that is no YAML, or a model-index without its parts."""
        match = re.match(r"^---\r?\n(.*?)\r?\n---", self.json()["content"], re.S)
        try:
            facts = (yaml.safe_load(match[1]) if match else None) or {}
            for model in facts.get("model-index") or []:
                for result in model["results"]:
                    assert result["task"]["type"] and result["dataset"]["type"] and result["dataset"]["name"]
                    assert all(entry["type"] and entry["value"] is not None for entry in result["metrics"])
        except (yaml.YAMLError, AssertionError, KeyError, TypeError) as error:
            message = {"errors": [{"message": str(error) or "model-index is incomplete"}], "warnings": []}
            return self.send(400, json.dumps(message).encode(), {})
        return {"errors": [], "warnings": []}

    def entry(self, name: str, blob: Blob) -> dict:
        lfs = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 130}
        row = {"type": "file", "path": name, "size": len(blob.data), "oid": blob.oid}
        return row | ({"lfs": lfs} if blob.large else {})

    def api_revision(self, kind: str, id: str, rest: str):
        repo = self.find(kind, id)
        sha, files = self.at(repo, rest or "main")
        blobs = "blobs" in self.query
        siblings = []
        for name, blob in files.items():
            row = {"rfilename": name}
            if blobs:
                row |= {"size": len(blob.data), "blobId": blob.oid}
                if blob.large:
                    row["lfs"] = {"size": len(blob.data), "sha256": blob.sha256, "pointerSize": 130}
            siblings.append(row)
        return {"_id": "0", "id": id, "modelId": id, "sha": sha, "private": repo.private, "gated": repo.gated,
                "disabled": False, "tags": [], "downloads": 0, "likes": 0, "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z", "siblings": siblings,
                **({"sdk": repo.sdk} if repo.sdk else {})}  # fmt: skip

    def api_tree(self, kind: str, id: str, rest: str):
        revision, _, under = rest.partition("/")
        _, files = self.at(self.find(kind, id), revision)
        prefix = f"{unquote(under)}/" if under else ""
        inside = {name: blob for name, blob in files.items() if name.startswith(prefix)}
        if under and not inside:
            raise Refused(404, "EntryNotFound", f"{under} does not exist")
        folders, rows = set(), []
        for name, blob in inside.items():
            *parents, _ = name[len(prefix) :].split("/")
            folders |= {prefix + "/".join(parents[: depth + 1]) for depth in range(len(parents))}
            if not parents or "recursive" in self.query:
                rows.append(self.entry(name, blob))
        if "recursive" not in self.query:
            folders = {folder for folder in folders if "/" not in folder[len(prefix) :]}
        return [{"type": "directory", "path": folder, "oid": "0" * 40, "size": 0} for folder in sorted(folders)] + rows

    def api_paths_info(self, kind: str, id: str, rest: str):
        _, files = self.at(self.find(kind, id), rest)
        form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        paths = parse_qs(self.body.decode())["paths"] if form else self.json()["paths"]
        rows = []
        for path in [paths] if isinstance(paths, str) else paths:
            if path in files:
                rows.append(self.entry(path, files[path]))
            elif any(name.startswith(f"{path}/") for name in files):
                rows.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        return rows

    def api_refs(self, kind: str, id: str, rest: str):
        repo = self.find(kind, id)

        def rows(refs: dict, where: str) -> list[dict]:
            return [{"name": k, "ref": f"refs/{where}/{k}", "targetCommit": sha} for k, sha in refs.items()]

        return {"branches": rows(repo.branches, "heads"), "tags": rows(repo.tags, "tags"), "converts": []}

    def api_preupload(self, kind: str, id: str, rest: str):
        _, files = self.at(self.find(kind, id, write=True), rest)
        rows = []
        for entry in self.json()["files"]:
            large, old = entry["path"].endswith(LARGE), files.get(entry["path"])
            rows.append({"path": entry["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False,
                         **({"oid": old.etag} if old else {})})  # fmt: skip
        return {"files": rows}

    def api_commit(self, kind: str, id: str, rest: str):
        repo = self.find(kind, id, write=True)
        lines = [json.loads(line) for line in self.body.splitlines()]
        with self.hub.lock:
            sha, files = self.at(repo, rest)
            header = lines[0]["value"]
            if header.get("parentCommit", sha) != sha:
                raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
            files = dict(files)
            for line in lines[1:]:
                key, value = line["key"], line["value"]
                if key == "file":
                    files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
                elif key == "lfsFile":
                    if value["oid"] not in self.hub.large:
                        raise Refused(400, "", f"LFS object {value['oid']} was not uploaded")
                    files[value["path"]] = Blob(self.hub.large[value["oid"]], True)
                elif key == "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
                elif key == "deletedFolder":
                    folder = value["path"].rstrip("/") + "/"
                    files = {name: blob for name, blob in files.items() if not name.startswith(folder)}
            sha = repo.commit(files, header["summary"], unquote(rest))
        return {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{KINDS[kind]}{id}/commit/{sha}",
                "hookOutput": ""}  # fmt: skip

    def api_tag(self, kind: str, id: str, rest: str):
        repo = self.find(kind, id, write=True)
        name = self.json()["tag"]
        if name in repo.tags:
            raise Refused(409, "", f"Tag reference exists already: {name}")
        repo.tags[name] = self.at(repo, rest)[0]
        return {}

    def api_variables(self, kind: str, id: str, rest: str):
        repo = self.find(kind, id, write=True)
        if self.command == "POST":
            repo.variables[self.json()["key"]] = self.json()["value"]
        return {key: {"key": key, "value": value} for key, value in repo.variables.items()}
