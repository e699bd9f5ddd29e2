"""REST: the same score as Python, errors with their status, schema, bounds, headers; the example clients run."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import ROOT, photo_like
from fastapi.testclient import TestClient

from fakedet.images import Limits
from fakedet.web import batch, schemas
from fakedet.web.api import create_api
from fakedet.web.scorer import Scorer


@pytest.fixture(scope="module")
def local(detector):
    """The REST application in this process, without a page."""
    return TestClient(create_api(Scorer(detector), max_files=3))


def send(client, *files: tuple[str, bytes], field: str = "image"):
    return client.post("/predict", files=[(field, file) for file in files])


@pytest.mark.integration
def test_rest_equals_python(app, photo, detector):
    # rule 1: one score on every surface
    answer = httpx.post(f"{app.url}/predict", files={"image": (photo.name, photo.read_bytes())}, timeout=60).json()
    expected = detector.predict(photo)
    assert abs(answer["p_fake"] - expected.p_fake) < 1e-3 and answer["verdict"] == expected.verdict
    assert answer["schema"] == "1" and answer["file"] == photo.name
    assert answer["image"]["sha256"] == expected.image["sha256"]  # the bytes arrived untouched


def test_several_images_give_a_list_in_order_and_a_bad_one_is_a_row(local, photo):
    good = photo.read_bytes()
    rows = send(local, ("a.jpg", good), ("b.jpg", b"nothing"), ("c.jpg", good)).json()
    assert [row["file"] for row in rows] == ["a.jpg", "b.jpg", "c.jpg"]
    assert rows[1]["error"]["code"] == "unsupported_format" and rows[0]["p_fake"] == rows[2]["p_fake"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "empty_input"),
        (b"just some text", 415, "unsupported_format"),
        (b"\xff\xd8\xff\xe0 cut", 422, "corrupt_image"),
    ],
)
def test_bad_image_has_status_code_and_sentence(local, content, status, code):
    # programs use status and code, people the sentence; neither sees a path of the server
    response = send(local, ("../../etc/x.jpg", content))
    body = response.json()
    assert (response.status_code, body["error"]["code"]) == (status, code)
    assert body["file"] == "x.jpg" and "Traceback" not in response.text and "/" not in body["error"]["message"]


def test_missing_field_says_which(local, photo):
    # the most frequent mistake of a first call
    response = send(local, ("a.jpg", photo.read_bytes()), field="file")
    assert response.status_code == 400 and response.json()["error"]["code"] == "missing_field"
    assert "'image'" in response.json()["error"]["message"]


def test_not_a_form_and_wrong_method_are_explained(local):
    assert local.post("/predict", content=b"x").json()["error"]["code"] == "not_multipart"
    response = local.get("/predict")
    assert response.status_code == 405 and response.headers["allow"] == "POST"


def test_too_many_files_are_refused(local, photo):
    response = send(local, *[("a.jpg", photo.read_bytes())] * 4)
    assert response.status_code == 400 and response.json()["error"]["code"] == "bad_form"


def test_large_body_ends_with_413_whatever_the_client_claims(detector):
    # a body without a length must not fill the disk
    small = type(detector)(detector.checkpoint, limits=Limits(max_bytes=1000))
    client = TestClient(create_api(Scorer(small)))
    assert send(client, ("a.jpg", b"\xff\xd8\xff" + bytes(2000))).json()["error"]["code"] == "too_many_bytes"
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    chunks = (part for part in [head, *[bytes(2**18)] * 12])
    response = client.post("/predict", content=chunks, headers={"content-type": "multipart/form-data; boundary=x"})
    assert response.status_code == 413 and response.json()["error"]["code"] == "body_too_large"


def test_when_the_queue_is_full_requests_get_429_and_the_others_an_answer(detector, photo):
    # every caller gets an answer, or a 429 with the time to wait
    rest = create_api(Scorer(detector, running=1), waiting=1)

    async def crowd():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(rest), base_url="http://app", timeout=60) as client:
            calls = [client.post("/predict", files={"image": ("a.jpg", photo.read_bytes())}) for _ in range(12)]
            return await asyncio.gather(*calls), (await client.get("/health")).json()

    with ThreadPoolExecutor(1) as thread:  # the browser fixture keeps a loop in the main thread
        answers, health = thread.submit(lambda: asyncio.run(crowd())).result()
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 429} and health["busy"] == 0
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(answer.headers.get("retry-after") for answer in refused)
    assert {answer.json()["error"]["code"] for answer in refused} == {"busy"}


def test_a_late_request_gets_timeout(detector, photo):
    # one place and little time: who waits too long gets "timeout" instead of nothing, as a row of a list too
    rest = create_api(Scorer(detector, running=1, seconds=0.3), waiting=64)
    file = ("image", ("a.jpg", photo.read_bytes()))

    async def crowd():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(rest), base_url="http://app", timeout=60) as client:
            calls = [client.post("/predict", files=[file]) for _ in range(48)]
            long = await client.post("/predict", files=[file] * 16)
            return long, await asyncio.gather(*calls), (await client.get("/health")).json()

    with ThreadPoolExecutor(1) as thread:
        long, answers, health = thread.submit(lambda: asyncio.run(crowd())).result()
    overdue = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} <= {200, 503} and health["busy"] == 0
    assert {answer.json()["error"]["code"] for answer in overdue} == {"timeout"}
    assert all(answer.headers["retry-after"] for answer in overdue)
    assert {row.get("error", {}).get("code") for row in long.json()} <= {None, "timeout"} and len(long.json()) == 16


def test_an_internal_error_does_not_describe_the_machine(detector, photo, monkeypatch):
    scorer = Scorer(detector)
    monkeypatch.setattr(detector, "predict", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("/secret/path")))
    response = send(TestClient(create_api(scorer)), ("a.jpg", photo.read_bytes()))
    assert response.status_code == 500 and "secret" not in response.text


@pytest.mark.integration
def test_health_model_and_openapi(app, detector):
    get = lambda path: httpx.get(app.url + path, timeout=30).json()  # noqa: E731
    assert get("/health")["status"] == "ok"
    assert get("/model")["model"] == detector.model_facts
    schema = get("/openapi.json")
    assert {"/predict", "/health", "/model"} <= set(schema["paths"])
    assert "multipart/form-data" in schema["paths"]["/predict"]["post"]["requestBody"]["content"]


def assert_described(body: dict, model: type) -> None:
    """The model reads the JSON and writes the very same again: no key or value is unknown to it or changed."""
    assert model.model_validate(body).model_dump(mode="json", by_alias=True, exclude_unset=True) == body


def test_the_schema_describes_a_verdict(local, photo):
    assert_described(send(local, ("a.jpg", photo.read_bytes())).json(), schemas.VerdictAnswer)


def test_the_schema_describes_an_error(local):
    assert_described(send(local, ("a.jpg", b"nothing")).json(), schemas.ErrorAnswer)


@pytest.mark.parametrize(("path", "model"), [("/health", schemas.Health), ("/model", schemas.ModelAnswer)])
def test_the_schema_describes_health_and_model(local, path, model):
    assert_described(local.get(path).json(), model)


def test_the_openapi_is_made_from_the_models(local):
    answer = local.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]["200"]
    options = answer["content"]["application/json"]["schema"]["anyOf"]
    assert options[0] == {"$ref": "#/components/schemas/VerdictAnswer"}


@pytest.mark.integration
def test_security_headers_on_our_routes_and_page(app):
    for path in ("/health", "/"):
        headers = httpx.get(app.url + path, timeout=30).headers
        assert headers["x-content-type-options"] == "nosniff" and "default-src" in headers["content-security-policy"]
    assert httpx.get(app.url + "/health", timeout=30).headers["cache-control"] == "no-store"


def test_zip_members_are_rows_and_bombs_stay_small(tmp_path, detector):
    # one picture, one bad file, one member that unpacks to far more than is read
    photo_like(64, 64).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.png", "in/a.png")
        archive.writestr("notes.txt", "hello")
        archive.writestr("bomb.png", bytes(40 * 2**20))
        archive.writestr("__MACOSX/in/a.png", "junk")
    (tmp_path / "bad.zip").write_bytes((tmp_path / "all.zip").read_bytes()[:300])
    scorer = Scorer(detector)
    *_, done = batch.run(scorer, [(str(tmp_path / "all.zip"), "all.zip"), (str(tmp_path / "bad.zip"), "bad.zip")], 10)
    codes = {i.result.file: i.result.to_dict().get("error", {}).get("code") for i in done.items}
    assert codes == {
        "all.zip/in/a.png": None,
        "all.zip/notes.txt": "unsupported_format",
        "all.zip/bomb.png": "too_many_bytes",
        "bad.zip": "unsupported_format",
    }
    csv_path, json_path = batch.write_files(done, tmp_path)
    assert len(json.loads(open(json_path).read())) == 4 and open(csv_path).read().count("\n") == 5


def test_archives_of_death_are_rows(tmp_path, detector):
    # a list of files that would fill the memory, a compression that may ask for gigabytes, a picture that ends in a ZIP
    with zipfile.ZipFile(tmp_path / "names.zip", "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number:060d}.png", b"")
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", bytes(100))
    photo_like(64, 64).save(tmp_path / "both.png")
    with zipfile.ZipFile(tmp_path / "both.png", "a") as archive:
        archive.writestr("hidden.png", bytes(100))
    paths = [(str(tmp_path / name), name) for name in ("names.zip", "lzma.zip", "both.png")]
    *_, done = batch.run(Scorer(detector), paths, 10)
    rows = {row["file"]: row for row in (item.result.to_dict() for item in done.items)}
    assert rows["names.zip"]["error"]["code"] == "too_many_files"
    assert rows["lzma.zip/a.png"]["error"]["code"] == "corrupt_zip"
    assert 0 < rows["both.png"]["p_fake"] < 1 and len(rows) == 3


def test_csv_cells_are_no_formulas(tmp_path, detector):
    # a file name that a spreadsheet would run
    photo_like(64, 64).save(tmp_path / "x.png")
    *_, done = batch.run(Scorer(detector), [(str(tmp_path / "x.png"), "=HYPERLINK(1).png")], 5)
    assert "\n'=HYPERLINK(1).png" in open(batch.write_files(done, tmp_path)[0]).read()


def test_pictures_beyond_the_limit_become_one_failure(tmp_path, detector):
    photo_like(64, 64).save(tmp_path / "x.png")
    *_, done = batch.run(Scorer(detector), [(str(tmp_path / "x.png"), f"{i}.png") for i in range(3)], 2)
    assert [item.kind == "error" for item in done.items] == [False, False, True]
    assert "first 2" in str(done.items[-1].result.error)


@pytest.mark.integration
@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "examples/client_gradio.py"],
        [sys.executable, "examples/client_rest.py"],
        [sys.executable, "examples/client_mcp.py"],
        ["sh", "examples/client_curl.sh"],
        ["node", "examples/client_rest.mjs"],
    ],
    ids=["gradio", "rest", "mcp", "curl", "javascript"],
)
def test_example_client_runs(app, photo, detector, command):
    # what the documentation shows must work as it stands
    assert shutil.which(command[0]), f"{command[0]} is needed to run the example clients"
    done = subprocess.run([*command, app.url, str(photo)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert abs(answer["p_fake"] - detector.predict(photo).p_fake) < 1e-3
