"""What people do on the page, in one line each."""

import json
import re
import time
from pathlib import Path

INPUTS = Path(__file__).parents[2] / "examples" / "inputs"
DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
_FAILED = re.compile("Failed to load resource: the server responded with a status of (4|5)")


class Page:
    """A tab with the page.

    Attributes:
        errors: what the browser's console has complained of.
        refusals: whether refused requests are expected; the browser logs them as errors.
    """

    def __init__(self, tab, server, shots: Path) -> None:
        self.tab, self.server, self.shots = tab, server, shots
        self.errors: list[str] = []
        self.refusals = False
        tab.on("console", self._log)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def _log(self, message) -> None:
        away = self.refusals and (_FAILED.match(message.text) or "net::ERR_" in message.text)
        if message.type in ("error", "warning") and not away and "GPU stall" not in message.text:
            self.errors.append(message.text)

    def shot(self, name: str) -> None:
        """Keep a screenshot."""
        self.tab.wait_for_timeout(250)
        self.tab.screenshot(path=self.shots / f"{name}.png")

    def attach(self, kind: str, *files: str | Path) -> None:
        """Attach files of a kind, as the menu names it."""
        before = self.tab.locator(".chip").count()
        self.tab.locator("#attach").click()
        with self.tab.expect_file_chooser() as chooser:
            self.tab.get_by_role("menuitem").filter(has_text=kind).first.click()
        chooser.value.set_files([INPUTS / file for file in files])
        self.tab.locator(".chip").nth(before + len(files) - 1).wait_for()
        self.drawn()

    def until(self, expression: str) -> None:
        """Wait until something is so. Playwright's own way is against the page's policy."""
        end = time.monotonic() + 30
        while not self.tab.evaluate(expression):
            assert time.monotonic() < end, f"never so: {expression}"
            self.tab.wait_for_timeout(50)

    def drawn(self) -> None:
        """Wait until all thumbnails of the question are there."""
        self.tab.locator(".chip").first.wait_for()
        self.until("!document.querySelector('.chip.busy')")

    def close(self) -> None:
        """Close the dialog that is open, and wait until it is gone."""
        self.tab.keyboard.press("Escape")
        self.until("!document.querySelector('dialog')")

    def ask(self, question: str) -> str:
        """Ask, and wait for the whole answer."""
        self.tab.fill("#question", question)
        self.tab.press("#question", "Enter")
        return self.answer()

    def answer(self) -> str:
        """The last answer, when it is complete."""
        self.tab.wait_for_selector("#stop", state="hidden")
        self.tab.wait_for_selector(".turn.answer:last-child[aria-busy=false]")
        return self.tab.locator(".turn.answer:last-child .prose").inner_text()

    def sent(self) -> list[dict]:
        """A list that gets the body of every question sent from now on."""
        bodies: list[dict] = []

        def note(request) -> None:
            if request.url.endswith("/v1/chat/completions"):
                bodies.append(json.loads(request.post_data))

        self.tab.on("request", note)
        return bodies

    def fits(self) -> bool:
        """Whether nothing is wider than the page."""
        return self.tab.evaluate(
            "document.documentElement.scrollWidth <= innerWidth"
            " && [...document.querySelectorAll('.top, .scroll, .box, .turn')].every((one) =>"
            " one.getBoundingClientRect().right <= innerWidth + 1 && one.scrollWidth <= one.clientWidth + 1)"
        )
