"""A visitor of the page: a browser window with a camera and a clipboard, and axe-core to check what it shows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

HOME = Path(__file__).resolve().parent
ARTIFACTS = HOME.parent / "artifacts"
CARD = "#answer .fd-real, #answer .fd-fake, #answer .fd-unsure"


def axe_source() -> str:
    """The source of axe-core, in the version that package.json names; npm installs it into tests/node_modules."""
    wanted = json.loads((HOME / "package.json").read_text())["devDependencies"]["axe-core"]
    installed = HOME / "node_modules" / "axe-core" / "package.json"
    if not installed.is_file() or json.loads(installed.read_text())["version"] != wanted:
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=HOME, check=True, timeout=300)
    return installed.with_name("axe.min.js").read_text()


class Visitor:
    """A browser window on the app, with a camera and a clipboard.

    Args:
        browser, app, axe: The fixtures.
        width: Of the window in pixels.
        scheme: "light" or "dark".
    """

    def __init__(self, browser, app, axe: str = "", width: int = 1280, scheme: str = "light"):
        self.width, self.scheme, self.axe, self.problems = width, scheme, axe, []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.context.grant_permissions(["clipboard-read", "clipboard-write", "camera"], origin=app.url)
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.goto(app.url)
        self.page.wait_for_selector("#picture input[type=file]", state="attached")
        self.page.wait_for_selector("#examples button[aria-label]")

    def look(self, name: str) -> None:
        """Keeps a screenshot; nothing sticks out to the right, and axe-core finds nothing serious."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.wait_for_timeout(400)  # foldings and colours move for a moment
        self.page.screenshot(path=ARTIFACTS / f"{name}-{self.width}-{self.scheme}.png", full_page=True)
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width, name
        self.page.evaluate(self.axe)
        violations = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [
            f"{name}: {rule['id']} ({rule['impact']}): {node['html'][:200]}"
            for rule in violations
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        assert not grave, "\n".join(grave)

    def answer(self, contains: str = "") -> str:
        """Waits for an answer whose card holds the text, and returns the card's."""
        self.page.wait_for_selector(CARD)
        self.page.wait_for_function("text => document.querySelector('#answer').innerText.includes(text)", arg=contains)
        return self.page.inner_text("#answer")

    def clear(self) -> None:
        """Takes the picture away."""
        self.page.click("#picture button[aria-label='Remove Image']")
        self.page.wait_for_selector("#answer .fd-empty")

    def tab(self, name: str) -> None:
        """Opens a tab, which on a phone may lie in the menu of those that found no room."""
        tab = self.page.get_by_role("tab", name=name, exact=True)
        if not tab.is_visible():
            self.page.click(".overflow-menu > button")
            tab = self.page.locator(".overflow-dropdown button", has_text=name)
        tab.click()
