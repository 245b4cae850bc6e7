"""A browser, a server with nano, and a page that tells of every error."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.web_page import DESK, PHONE, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
VIOLATIONS = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


@pytest.fixture(scope="module")
def browser():
    """Chromium, for one file of tests: while Playwright runs, its thread's event loop is taken."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed; set CHROMIUM or run make test-page")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def server(browser):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from support.live_server import live

    from imagebind_llm import Assistant

    with live(Assistant.from_pretrained("nano", device="cpu")) as found:
        yield found


@pytest.fixture(scope="session")
def shots(tmp_path_factory) -> Path:
    """Where screenshots go."""
    folder = Path(os.environ.get("IMAGEBIND_LLM_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(browser, server, shots) -> Iterator:
    """Opens the page in a fresh browser profile; at the end nothing may have gone wrong in it."""
    opened = []

    def visit_page(
        viewport=DESK, scheme="light", locale="en-US", examples=True, prepare=None, **more
    ) -> Page:
        context = browser.new_context(
            viewport=viewport,
            color_scheme=scheme,
            locale=locale,
            reduced_motion="reduce",
            has_touch=viewport == PHONE,
            permissions=["clipboard-read", "clipboard-write"],
            **more,
        )
        context.set_default_timeout(30_000)
        context.add_init_script(VIOLATIONS)
        page = Page(context.new_page(), server, shots)
        opened.append((context, page))
        if prepare is not None:
            prepare(page.tab)
        page.tab.goto(server.url)
        if examples:
            page.tab.wait_for_selector(".example")
        return page

    yield visit_page
    for context, page in opened:
        violations = page.tab.evaluate("window.violations")
        context.close()
        assert violations == []
        assert page.errors == []
