"""The site: built strictly (a dead link, a page outside the navigation or an unknown name is an error)."""

import os
import re
import subprocess
import sys

import pytest
from pages import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def build(folder, config=ROOT / "mkdocs.yml"):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_every_page_is_there(site):
    for page in (ROOT / "docs").rglob("*.md"):
        built = (site / page.relative_to(ROOT / "docs")).with_suffix(".html")
        assert "<h1" in built.read_text(encoding="utf-8"), page


def test_every_public_name_has_its_docstring_on_a_page(site):
    import imagebind_llm

    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    for name in imagebind_llm.__all__:
        assert f'id="imagebind_llm.{name}"' in text, name
    assert not re.findall(r":(?:class|func|meth|mod|data):", text)


def test_nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="(https?:[^"]+)',
            page.read_text(encoding="utf-8"),
        )
        assert not loaded, f"{page.name}: {loaded}"


def test_a_dead_link_fails_the_build(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# Home\n\n[nowhere](nowhere.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: x\nstrict: true\n")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    assert "nowhere.md" in done.stdout + done.stderr
