"""Makes examples/screenshot.png, the picture in the README: `python examples/screenshot.py`.

It starts the app, uploads an example photograph and takes the screenshot when the answer is shown.
"""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "examples" / "images" / "photo_china.jpg"


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=os.environ | {"FAKEDET_PORT": str(port)})
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 1150})
            for _ in range(120):
                try:
                    page.goto(f"http://127.0.0.1:{port}", timeout=60_000)
                    break
                except Exception:
                    page.wait_for_timeout(1000)
            page.set_input_files("#picture input[type=file]", str(PICTURE), timeout=60_000)
            page.wait_for_selector("#answer .fd-bar", timeout=60_000)
            page.wait_for_timeout(3000)
            page.screenshot(path=str(ROOT / "examples" / "screenshot.png"))
            browser.close()
    finally:
        app.terminate()
        app.wait()


if __name__ == "__main__":
    main()
