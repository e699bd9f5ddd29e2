"""Routes of the Hub's stand-in. Each method returns a JSON value, or None if it has answered itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from hub_http import Connection, Refused
from hub_store import KINDS, LARGE, Blob


class Routes(Connection):
    """Answers the requests of huggingface_hub, transformers and datasets."""

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
        if path != "api/agent-harnesses":  # optional: the client asks for it and works without
            self.hub.unknown.append(self.line)
        raise Refused(404, "", "no such route")

    def stored(self, oid: str):
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != oid:
                raise Refused(400, "", "the content does not have this sha256")
            self.hub.large[oid] = self.body
            return self.send(200, b"", {"ETag": f'"{oid}"'})
        return self.part(self.hub.large[oid], {})

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
        """Refuses front matter that is not YAML, and an incomplete model-index, as the Hub does."""
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
