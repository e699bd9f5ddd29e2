"""Reports of wrong answers as the page sends them, without a browser: gradio's own routes, one session a visitor."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import httpx


class FormVisitor:
    """A visitor who has an answer for a picture and may report that it is wrong.

    Args:
        url: Of the app.
        picture: Path of the picture.
    """

    def __init__(self, url: str, picture: Path):
        self.url, self.session = f"{url}/gradio_api", uuid.uuid4().hex
        self.client = httpx.Client(timeout=120, limits=httpx.Limits(max_connections=None))
        config = self.client.get(f"{url}/config").json()
        ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self.check = self._event(config, ids["picture"], "change", ids["answer"])
        self.send = self._event(config, ids["feedback-send"], "click", ids["feedback-state"])
        with picture.open("rb") as file:
            (path,) = self.client.post(f"{self.url}/upload", files={"files": (picture.name, file)}).json()
        self.upload = {"path": path, "orig_name": picture.name, "meta": {"_type": "gradio.FileData"}}
        self.answer = self._check()

    @staticmethod
    def _event(config: dict, component: int, kind: str, output: int) -> int:
        """The number of the event of a component that changes another one on the server."""
        return next(
            event["id"]
            for event in config["dependencies"]
            if [component, kind] in event["targets"] and output in event["outputs"] and event["backend_fn"]
        )

    def _check(self) -> str:
        """Gives the picture and waits for the card."""
        body = {"data": [self.upload], "fn_index": self.check, "session_hash": self.session}
        self.client.post(f"{self.url}/queue/join", json=body).raise_for_status()
        with self.client.stream("GET", f"{self.url}/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    return message["output"]["data"][0]
        raise AssertionError("no answer")

    def report(self, how: str, truth: str | None = "real", keep: bool = False) -> str:
        """Sends the form; returns the sentence that the page shows."""
        data = [truth, how, keep, self.upload, None]
        body = {"data": data, "fn_index": self.send, "session_hash": self.session}
        response = self.client.post(f"{self.url}/run/predict", json=body)
        return response.json()["data"][0]


def stored(folder: Path) -> list[dict]:
    """All whole reports below a folder, each with the folder in which its picture lies."""
    reports = []
    for lines in sorted(folder.rglob("reports.jsonl")):
        reports += [json.loads(line) | {"folder": lines.parent} for line in lines.read_bytes().splitlines()]
    return reports
