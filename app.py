"""The page and the API on one port: `python app.py`.

It needs no network and no account: without the Hub the model comes from the local cache, or is the bundled one.

| variable               | default         | what it sets                                                       |
|------------------------|-----------------|--------------------------------------------------------------------|
| FAKEDET_MODEL          | the bundled one | Hub id (owner/name, owner/name@revision) or a folder               |
| FAKEDET_HOST           | 127.0.0.1       | address to listen on; 0.0.0.0 for all (the default on a Space)     |
| FAKEDET_PORT           | 7860            | port                                                               |
| FAKEDET_MAX_MB         | 25              | largest image file, in MB                                          |
| FAKEDET_MAX_MEGAPIXELS | 64              | largest picture, in megapixels                                     |
| FAKEDET_MAX_FILES      | 200             | pictures in one batch on the page                                  |
| FAKEDET_MAX_UPLOAD_MB  | 250             | largest upload on the page (a ZIP archive), in MB                  |
| FAKEDET_CONCURRENCY    | 2               | pictures scored at the same time                                   |
| FAKEDET_QUEUE          | 32              | requests that may wait; further ones get "busy"                    |
| FAKEDET_ANSWER_SECONDS | 60              | seconds until a request gets "timeout"                             |
| FAKEDET_DECODE_SECONDS | 5               | CPU seconds that decoding one picture may take                     |
| FAKEDET_THREADS        | all CPUs        | CPU threads of one pass through the network                        |
| FAKEDET_CACHE          | ~/.cache       | folder for ONNX graphs made once, and the pinned trusted signers   |
| FAKEDET_C2PA_TRUST     | pinned list     | PEM file of trusted signers, in place of `fakedet trust`'s         |
| FAKEDET_KEEP_MINUTES   | 10              | how long an uploaded picture stays in the temporary folder         |
| FAKEDET_FEEDBACK       | off             | folder or Hub data set (owner/name) for reports of wrong answers   |
| FAKEDET_FEEDBACK_MB    | 500             | room for all reports, in MB                                        |
| FAKEDET_FEEDBACK_HOUR  | 20              | reports that one client may send in an hour; all: 20 times as many |

GRADIO_SERVER_NAME, GRADIO_SERVER_PORT and GRADIO_ROOT_PATH work as well.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from pathlib import Path

# Before gradio is imported: no telemetry, no version check.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

try:
    import spaces  # only on a Space with ZeroGPU, before torch; it is in no requirements file
except ImportError:
    spaces = None

import gradio as gr
import uvicorn
from fastapi import FastAPI

from fakedet import Detector
from fakedet.hub import ModelError
from fakedet.images import Limits
from fakedet.web import endpoints, page, panels, tab_many, tab_model, tab_one
from fakedet.web.api import create_api
from fakedet.web.feedback.place import PlaceError, open_feedback
from fakedet.web.feedback.service import Feedback
from fakedet.web.mcp_answers import answer_in_json, mcp_installed
from fakedet.web.scorer import Scorer
from fakedet.web.served import ServedModel

HERE = Path(__file__).resolve().parent
MAX_SESSIONS = 200
PAGE_OPTIONS = {
    "footer_links": [],  # the tab "Programs" describes the API
    "run_history": False,  # nothing is kept, not even in the browser
    "show_error": False,  # the page shows its own errors; others might name a path
    "ssr_mode": False,
}


def setting(name: str, default: float, minimum: float = 1) -> float:
    """A number from the environment.

    Raises:
        SystemExit: Not a number, or below the minimum.
    """
    text = os.environ.get(name, "").strip() or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not minimum <= value < float("inf"):
        raise SystemExit(f"{name} must be a number of at least {minimum:g}, not '{text}'.")
    return value


def load_detector(model: str | None, limits: Limits | None = None) -> ServedModel:
    """Loads the wanted model, or the bundled one where that cannot be used.

    Args:
        model: Hub id or folder; None for the bundled one.
        limits: Maximum size of an input.

    Raises:
        ModelError: Not even the bundled checkpoint can be used.
    """
    try:
        return ServedModel(on_borrowed_gpu(Detector.from_pretrained(model, limits=limits)))
    except ModelError as error:
        if not model:
            raise
        reason, wanted = str(error), model
    if Path(model).is_absolute():  # visitors need not know this machine's folders
        wanted = Path(model).name
        reason = reason.replace(model, wanted)
    detector = on_borrowed_gpu(Detector.from_pretrained(limits=limits))
    return ServedModel(detector, fallback=True, wanted=wanted, reason=reason)


def on_borrowed_gpu(detector: Detector) -> Detector:
    """The detector; where `spaces` is installed, each pass through the network borrows the Space's GPU."""
    if spaces is not None:
        detector.runtime = spaces.GPU(detector.runtime.__call__)
    return detector


def load_feedback(limits: Limits) -> Feedback | None:
    """What takes reports of wrong answers; None where the owner names no place for them."""
    name = os.environ.get("FAKEDET_FEEDBACK", "").strip()
    max_mb, per_client = setting("FAKEDET_FEEDBACK_MB", 500, 0.001), setting("FAKEDET_FEEDBACK_HOUR", 20)
    try:
        return open_feedback(name, int(max_mb * 2**20), int(per_client), limits) if name else None
    except PlaceError as error:
        raise SystemExit(f"FAKEDET_FEEDBACK: {error}") from None


def build_demo(served: ServedModel, scorer: Scorer, feedback: Feedback | None = None) -> gr.Blocks:
    """The page.

    Args:
        served: The model, and whether it is the wanted one.
        scorer: Shared with the REST interface.
        feedback: Takes reports of wrong answers; None: the page does not ask for them.
    """
    minutes = setting("FAKEDET_KEEP_MINUTES", 10, 0.02)
    seconds = max(1, round(60 * minutes))
    max_files = int(setting("FAKEDET_MAX_FILES", 200))
    with gr.Blocks(
        title="fakedet: photograph or AI-generated?",
        analytics_enabled=False,
        delete_cache=(min(60, seconds), seconds),
    ) as demo:
        gr.HTML(page.INTRO)
        if served.fallback:  # the warning comes before anything else
            gr.HTML(panels.model_line(served))
        with gr.Tabs():
            with gr.Tab("One picture"):
                tab_one.one_picture(scorer, example_images(), seconds, feedback)
            with gr.Tab("Many"):
                tab_many.many_pictures(scorer, max_files)
            with gr.Tab("Model"):
                tab_model.the_model(served.detector)
            with gr.Tab("Programs"):
                programs = gr.Markdown(elem_id="programs")
        endpoints.endpoints(scorer, max_files)
        gr.HTML(panels.model_line(served))
        gr.HTML(panels.privacy(minutes, feedback is not None))
        demo.load(programs_page, None, programs, api_visibility="private", queue=False)
    return demo


def programs_page(request: gr.Request) -> str:
    """The tab "Programs", with the address under which the reader reached this app."""
    return panels.programs(mcp_installed(), str(request.request.base_url).rstrip("/"))


def example_images() -> list[str]:
    """Paths of pictures to try, sorted by name; may be empty."""
    folder = HERE / "examples" / "images"
    kinds = (".jpg", ".jpeg", ".png", ".webp")
    return sorted(str(path) for path in folder.glob("*") if path.suffix.lower() in kinds)


def build_app(host: str = "127.0.0.1", port: int = 7860) -> FastAPI:
    """REST with the page mounted on it, configured by the environment."""
    limits = Limits(
        max_bytes=int(setting("FAKEDET_MAX_MB", 25, 0.001) * 2**20),
        max_pixels=int(setting("FAKEDET_MAX_MEGAPIXELS", 64, 0.001) * 1e6),
    )
    waiting = int(setting("FAKEDET_QUEUE", 32))
    running = int(setting("FAKEDET_CONCURRENCY", 2))
    answer_seconds, decode_seconds = setting("FAKEDET_ANSWER_SECONDS", 60), setting("FAKEDET_DECODE_SECONDS", 5)
    feedback = load_feedback(limits)
    served = load_detector(os.environ.get("FAKEDET_MODEL", "").strip() or None, limits)
    print(served.why, flush=True)
    scorer = Scorer(served.detector, running, answer_seconds, decode_seconds)
    demo = build_demo(served, scorer, feedback)
    demo.queue(max_size=waiting, default_concurrency_limit=running)
    # gradio checks whether a path that a caller names was uploaded, but only on launched pages: a mounted page would
    # open any file of this machine (and wait for ever on /dev/zero)
    demo.has_launched = True
    # each caller without a session of its own costs 110 kB until this many others came; gradio's default is 10,000
    demo.state_session_capacity = MAX_SESSIONS
    app = gr.mount_gradio_app(
        create_api(scorer, waiting=waiting, why=served.why),
        demo,
        path="/",
        server_name=host,
        server_port=port,
        max_file_size=int(setting("FAKEDET_MAX_UPLOAD_MB", 250) * 2**20),
        mcp_server=mcp_installed(),
        theme=page.theme(),
        css_paths=[page.CSS],
        head=f"{page.HEAD}<script>{page.SCRIPT.read_text(encoding='utf-8')}</script>",
        **PAGE_OPTIONS,
    )
    answer_in_json(demo)
    return app


def limit_heaps() -> None:
    """Limits glibc to two heaps for all threads, and allocates pictures outside of them.

    By default glibc makes eight heaps a core and keeps blocks of up to 32 MB in them, which adds up to hundreds of
    megabytes.
    """
    try:
        heap = ctypes.CDLL("libc.so.6")
        heap.mallopt(-8, 2)  # M_ARENA_MAX
        heap.mallopt(-3, 2**20)  # M_MMAP_THRESHOLD, bytes
    except (OSError, AttributeError):  # another system, another allocator
        return


def main() -> None:
    """Serves until stopped; uploads are deleted with the temporary folder."""
    limit_heaps()
    on_space = "SPACE_ID" in os.environ
    default_host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if on_space else "127.0.0.1")
    host = os.environ.get("FAKEDET_HOST") or default_host
    port = int(setting("FAKEDET_PORT", float(os.environ.get("GRADIO_SERVER_PORT") or 7860)))
    with tempfile.TemporaryDirectory(prefix="fakedet-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            app = build_app(host, port)
        except ModelError as error:
            raise SystemExit(f"No model can be loaded: {error}") from None
        shown = "localhost" if host in ("0.0.0.0", "::") else host
        print(f"Open http://{shown}:{port} in a browser. Stop with Ctrl+C.", flush=True)
        # uvicorn passes the signal on when it has ended; as an exception it lets the temporary folder be removed
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    sys.exit(main())
