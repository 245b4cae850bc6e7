"""Tools on the page: switched on and asked in words, and the two buttons for who uses the mouse only."""

import io

import pytest
from PIL import Image
from support.web_page import DESK, INPUTS, PHONE

pytest.importorskip("jsonschema")
pytest.importorskip("llguidance")
pytest.importorskip("diffusers")
pytest.importorskip("scipy")

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(browser):
    """With nano's own generator."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from support.live_server import live

    from imagebind_llm import Assistant

    with live(Assistant.from_pretrained("nano", device="cpu")) as found:
        yield found


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    found = Image.new("RGB", (208, 120), (235, 230, 210))
    for place, name in (((12, 40), "seven.png"), ((80, 12), "dog.jpg"), ((144, 56), "ship.jpg")):
        found.paste(Image.open(INPUTS / name).convert("RGB").resize((52, 52)), place)
    path = tmp_path_factory.mktemp("scene") / "scene.png"
    found.save(path)
    return path


def switch_on(page, *names):
    page.tab.locator("#settings-open").click()
    for name in names:
        page.tab.locator(f"#tool-{name}").check()
    page.shot("tools-settings")
    page.tab.locator("#settings .panel-top button").click()


def answered(page, number):
    """The answer of this number, from 1, when it is complete."""
    page.tab.locator(".turn.answer").nth(number - 1).wait_for()
    return page.answer()


def made(page):
    """The last picture of the last answer, when it is shown."""
    page.until(
        "[...document.querySelectorAll('.turn.answer:last-child .made img')].some((one) => one.naturalWidth)"
    )
    return page.tab.locator(".turn.answer:last-child .made")


def test_ask_in_words_with_tools_switched_on(visit, scene):
    page = visit()
    switch_on(page, "calculator", "generator", "detector")
    bodies = page.sent()
    page.attach("Sound", "eight.ogg")
    assert page.ask("Draw what you hear.") == "Here is a picture of the sound."
    assert bodies[0]["server_tools"] == ["calculator", "generator", "detector"]
    shown = made(page)
    with page.tab.expect_download() as download:
        shown.locator(".made-save").click()
    assert download.value.suggested_filename == "picture.png"
    with Image.open(io.BytesIO(download.value.path().read_bytes())) as picture:
        assert picture.size == (32, 32)
    calls = page.tab.locator(".turn.answer:last-child .calls")
    calls.locator("summary").click()
    assert 'generator(kind = "picture", of = [1])' in calls.inner_text()
    page.shot("tools-drawn")
    page.attach("Picture", scene)
    assert "in one place" in page.ask("Where is the dog?")
    made(page)
    page.shot("tools-found")
    page.attach("Picture", "dog.jpg")
    assert page.ask("What is this?") == "It is a dog."
    assert page.tab.get_by_text("No tool was used").is_visible()
    page.tab.reload()
    page.tab.locator(".chats button").first.click()
    page.until("document.querySelectorAll('.made img').length === 2")
    assert page.fits()


@pytest.mark.parametrize(
    ("viewport", "scheme", "locale", "named"),
    [(DESK, "light", "en-US", "desk"), (DESK, "dark", "en-US", "dark"), (PHONE, "light", "zh-CN", "phone")],
)
def test_draw_and_find_with_the_mouse_only(visit, scene, viewport, scheme, locale, named):
    page = visit(viewport, scheme, locale)
    chinese = locale == "zh-CN"
    page.tab.locator("#draw-it").click()
    assert page.tab.locator(".toast").first.is_visible(), "there is nothing to draw yet"
    page.attach("声音" if chinese else "Sound", "dog.ogg")
    page.shot(f"tools-composer-{named}")
    page.tab.locator("#draw-it").click()
    page.tab.get_by_role("menuitem").first.click()
    assert answered(page, 1) == ("这是生成的图片。" if chinese else "Here is the picture.")
    made(page)
    page.shot(f"tools-draw-{named}")
    page.attach("图片" if chinese else "Picture", scene)
    page.tab.locator("#find-it").click()
    page.tab.locator(".names button").first.wait_for()
    page.shot(f"tools-names-{named}")
    page.tab.get_by_role("button", name="a photo of a dog", exact=True).click()
    assert ("找到一处" if chinese else "Found in one place") in answered(page, 2)
    made(page)
    page.shot(f"tools-find-{named}")
    assert page.fits()
    page.attach("图片" if chinese else "Picture", scene)
    page.attach("声音" if chinese else "Sound", "dog.ogg")
    page.tab.locator("#find-it").click()
    assert ("找到一处" if chinese else "Found in one place") in answered(page, 3)


def test_a_picture_becomes_a_sound(visit):
    page = visit()
    page.attach("Picture", "dog.jpg")
    page.tab.locator("#draw-it").click()
    page.tab.get_by_role("menuitem").filter(has_text="sound").first.click()
    assert answered(page, 1) == "Here is the sound."
    assert page.tab.get_by_text("Make a sound of this").first.is_visible()
    player = page.tab.locator(".turn.answer:last-child .made audio")
    player.wait_for()
    assert player.bounding_box()["width"] > 200
    page.until("document.querySelector('.turn.answer:last-child .made audio').duration > 0.3")
    with page.tab.expect_download() as download:
        page.tab.locator(".turn.answer:last-child .made-save").click()
    assert download.value.suggested_filename == "sound.wav"
    page.shot("tools-sound")
    assert page.fits()


def test_drawn_again_it_is_another_picture(visit):
    page = visit()
    page.attach("Sound", "dog.ogg")
    seeds = []
    page.tab.on("request", lambda one: "generations" in one.url and seeds.append(one.post_data_json["seed"]))
    page.tab.locator("#draw-it").click()
    page.tab.get_by_role("menuitem").first.click()
    answered(page, 1)
    page.tab.get_by_label("Answer again").click()
    page.tab.get_by_text("2/2").wait_for()
    made(page)
    assert seeds == [0, 1]


def test_what_cannot_be_made_is_said(visit):
    page = visit()
    page.refusals = True
    page.attach("Sound", "dog.ogg")
    page.tab.locator("#draw-it").click()
    page.tab.get_by_role("menuitem", name="A 3D shape").click()
    error = page.tab.locator(".turn.answer:last-child .error")
    error.wait_for()
    assert "nano makes shapes of digits only" in error.inner_text()
    page.shot("tools-refused")
