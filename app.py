"""The page and the API on one port: `python app.py`.

No network and no account are needed: without the Hub the model comes from the local cache, or is the bundled one.

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
| FAKEDET_QUEUE          | 32              | requests that may wait; more are told "busy"                       |
| FAKEDET_ANSWER_SECONDS | 60              | seconds until a request is told "timeout"                          |
| FAKEDET_DECODE_SECONDS | 5               | seconds of computing that decoding one picture may take            |
| FAKEDET_THREADS        | all CPUs        | CPU threads of one pass through the network                        |
| FAKEDET_CACHE          | ~/.cache       | folder for what is made once for a checkpoint (an ONNX graph)      |
| FAKEDET_C2PA_TRUST     | none            | PEM file of the signers whose Content Credentials are trusted      |
| FAKEDET_KEEP_MINUTES   | 10              | how long an uploaded picture stays in the temporary folder         |

GRADIO_SERVER_NAME, GRADIO_SERVER_PORT and GRADIO_ROOT_PATH work as well.
"""

from __future__ import annotations

import ctypes
import importlib.util
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
from fakedet.web import endpoints, page, panels, tabs
from fakedet.web.api import Scorer, create_api
from fakedet.web.mcp_answers import answer_in_json

HERE = Path(__file__).resolve().parent


def setting(name: str, default: float, least: float = 1) -> float:
    """A number from the environment.

    Raises:
        SystemExit: Not a number, or too small.
    """
    text = os.environ.get(name, "").strip() or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise SystemExit(f"{name} must be a number of at least {least:g}, not '{text}'.")
    return value


def load_detector(model: str | None, limits: Limits | None = None) -> tuple[Detector, str]:
    """The wanted detector, or the bundled one where that cannot be had, and one sentence or two on why it answers.

    Raises:
        ModelError: Not even the bundled checkpoint can be used.
    """
    try:
        detector = borrowing(Detector.from_pretrained(model, limits=limits))
        return detector, detector.checkpoint.note
    except ModelError as error:
        if not model:
            raise
        detector = borrowing(Detector.from_pretrained(limits=limits))
        reason = str(error)
        if Path(model).is_absolute():  # visitors need not know this machine's folders
            reason = reason.replace(model, Path(model).name)
        wanted = Path(model).name if Path(model).is_absolute() else model
        return detector, f"{detector.checkpoint.note} The wanted model ({wanted}) could not be used: {reason}"


def borrowing(detector: Detector) -> Detector:
    """The detector; where `spaces` is installed, each of its passes through the network borrows the Space's GPU."""
    if spaces is not None:
        detector.runtime = spaces.GPU(detector.runtime.__call__)
    return detector


def build_demo(detector: Detector, why: str | None = None, scorer: Scorer | None = None) -> gr.Blocks:
    """The page.

    Args:
        detector: Answers.
        why: One sentence on why this checkpoint answers; the checkpoint's own by default.
        scorer: Shared with the REST interface.
    """
    scorer = scorer or Scorer(detector)
    why = why or detector.checkpoint.note
    minutes = setting("FAKEDET_KEEP_MINUTES", 10, 0.02)
    seconds = max(1, round(60 * minutes))
    with gr.Blocks(
        title="fakedet: photograph or AI-generated?",
        analytics_enabled=False,
        delete_cache=(min(60, seconds), seconds),
    ) as demo:
        gr.HTML(page.INTRO)
        if why != detector.checkpoint.note:  # not the model that was asked for: said before anything else
            gr.HTML(panels.source_line(detector, why))
        with gr.Tabs():
            with gr.Tab("One picture"):
                tabs.one_picture(scorer, example_images())
            with gr.Tab("Many"):
                tabs.many_pictures(scorer, int(setting("FAKEDET_MAX_FILES", 200)))
            with gr.Tab("Model"):
                tabs.the_model(detector)
            with gr.Tab("Programs"):
                programs = gr.Markdown(elem_id="programs")
        endpoints.endpoints(scorer, int(setting("FAKEDET_MAX_FILES", 200)))
        gr.HTML(panels.source_line(detector, why))
        gr.HTML(panels.privacy(minutes))
        demo.load(own_address, None, programs, api_visibility="private", queue=False)
    return demo


def own_address(request: gr.Request) -> str:
    """The page for programs, with the address under which the reader reached this app."""
    return panels.programs(mcp_installed(), str(request.request.base_url).rstrip("/"))


def example_images() -> list[str]:
    """Pictures to try, in the order of their names; may be none."""
    folder = HERE / "examples" / "images"
    kinds = (".jpg", ".jpeg", ".png", ".webp")
    return sorted(str(path) for path in folder.glob("*") if path.suffix.lower() in kinds)


def mcp_installed() -> bool:
    """Whether programs can also speak MCP with the page (pip install mcp)."""
    return importlib.util.find_spec("mcp") is not None


def build_app(host: str = "127.0.0.1", port: int = 7860) -> FastAPI:
    """REST with the page mounted on it, as the environment says."""
    limits = Limits(
        max_bytes=int(setting("FAKEDET_MAX_MB", 25, 0.001) * 2**20),
        max_pixels=int(setting("FAKEDET_MAX_MEGAPIXELS", 64, 0.001) * 1e6),
    )
    waiting = int(setting("FAKEDET_QUEUE", 32))
    running = int(setting("FAKEDET_CONCURRENCY", 2))
    detector, why = load_detector(os.environ.get("FAKEDET_MODEL", "").strip() or None, limits)
    print(why, flush=True)
    scorer = Scorer(detector, running, setting("FAKEDET_ANSWER_SECONDS", 60), setting("FAKEDET_DECODE_SECONDS", 5))
    demo = build_demo(detector, why, scorer)
    demo.queue(max_size=waiting, default_concurrency_limit=running)
    # gradio looks whether a path that a caller names was uploaded, but on pages that are launched only: a mounted page
    # would open any file of this machine (and wait for ever on /dev/zero)
    demo.has_launched = True
    # each caller without a session of its own costs 110 kB until so many others came; gradio would keep ten thousand
    demo.state_session_capacity = 200
    app = gr.mount_gradio_app(
        create_api(scorer, waiting=waiting, why=why),
        demo,
        path="/",
        server_name=host,
        server_port=port,
        footer_links=[],  # the tab "Programs" says what programs need
        run_history=False,  # nothing is kept, not even in the browser
        show_error=False,  # what our own errors say is shown; others might name a path
        max_file_size=int(setting("FAKEDET_MAX_UPLOAD_MB", 250) * 2**20),
        ssr_mode=False,
        mcp_server=mcp_installed(),
        theme=page.theme(),
        css_paths=[page.CSS],
        head=f"{page.HEAD}<script>{page.SCRIPT.read_text(encoding='utf-8')}</script>",
    )
    answer_in_json(demo)
    return app


def give_memory_back() -> None:
    """Two heaps for all threads, and pictures outside of them.

    glibc makes eight heaps a core and learns to keep blocks of up to 32 MB in them; what they hold on to adds up to
    hundreds of megabytes. Numbers: M_ARENA_MAX, M_MMAP_THRESHOLD.
    """
    try:
        heap = ctypes.CDLL("libc.so.6")
        heap.mallopt(-8, 2)
        heap.mallopt(-3, 2**20)
    except (OSError, AttributeError):  # another system, another allocator
        return


def main() -> None:
    """Serves until stopped; what was uploaded goes with the temporary folder."""
    give_memory_back()
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
        # uvicorn hands the signal on when it has ended; as an exception it lets the temporary folder be removed
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    sys.exit(main())
