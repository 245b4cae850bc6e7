"""The page in a real browser, on nano."""

import base64
import json
import re

import numpy as np
import pytest
from PIL import Image
from support.web_page import DESK, INPUTS, PHONE

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]

RIGHT = {
    "What digit is this?": "seven",
    "What animal makes this sound?": "dog",
    "What shape is this?": "airplane",
    "What do you see and hear?": "airplane and a frog",
    "What do you see in the depth map?": "eight",
    "What is in this thermal image?": "three",
    "What is written in the video?": "two",
    "Which digit did I write?": "seven",
    "Describe this picture.": "bird",
}


def test_the_first_screen(visit):
    page = visit()
    page.until("[...document.querySelectorAll('.example .thumb')].every((one) => one.querySelector('img'))")
    assert page.tab.locator("#model").inner_text() == "nano"
    assert page.tab.locator(".example").count() == len(RIGHT)
    assert page.fits()
    assert page.tab.get_by_text("ten digits and ten things").is_visible()
    page.shot("welcome")
    page.tab.set_viewport_size({"width": 1366, "height": 768})
    last = page.tab.locator(".example").last.bounding_box()
    assert last["y"] + last["height"] <= page.tab.locator(".composer").bounding_box()["y"]


def test_every_example_asks_and_is_answered_right(visit):
    page = visit()
    for number, (question, right) in enumerate(RIGHT.items()):
        page.tab.locator(".example", has_text=question).click()
        assert right in page.answer()
        if number == 3:
            page.shot("example-mixture")
        page.tab.locator("#new-chat").click()


def test_upload_a_picture_and_ask(visit):
    page = visit()
    with page.tab.expect_file_chooser() as chooser:
        page.tab.get_by_label("Attach a picture").click()
    chooser.value.set_files(INPUTS / "car.jpg")
    page.drawn()
    page.shot("picture-attached")
    assert page.ask("What is this?") == "It is a car."
    page.shot("picture")


def test_a_sound_with_the_similar_pictures(visit):
    page = visit()
    page.attach("Sound", "bird.flac")
    assert "bird" in page.ask("What do you hear?")
    gallery = page.tab.locator(".gallery")
    assert "a photo of a bird" in gallery.inner_text()
    assert gallery.locator("h3").inner_text() == "Similar to"
    assert gallery.locator(".caption-note").is_hidden()
    assert re.search(r"\d+%", gallery.inner_text())
    page.shot("sound")
    page.tab.locator("#settings-open").click()
    page.tab.get_by_role("radio", name="Never").check()
    page.tab.locator("#settings .panel-top button").click()
    bodies = page.sent()
    page.ask("What do you hear?")
    assert bodies[0]["cache"] == {"enabled": False}
    assert page.tab.locator(".turn.answer:last-child .gallery").count() == 0


def test_how_sure_the_model_is_stands_under_its_answer(visit):
    page = visit()
    page.attach("Sound", "bird.flac")
    page.ask("What do you hear?")
    line = page.tab.locator(".turn.answer:last-child .sureness")
    assert re.fullmatch(r"\d+% sure of these words\s*Nearest picture it knows: 0\.\d\d", line.inner_text())
    assert "sure and wrong" in line.locator(".tip").first.get_attribute("title")
    page.shot("sureness")
    page.tab.reload()
    page.tab.get_by_role("button", name="What do you hear?", exact=True).click()
    assert "sure of these words" in page.tab.locator(".sureness").inner_text()  # kept with the chat
    page.tab.locator("#settings-open").click()
    page.tab.locator("#language").click()
    assert re.fullmatch(
        r"对这句话的把握：\d+%\s*与已知图片的最高相似度：0\.\d\d", page.tab.locator(".sureness").inner_text()
    )


def test_how_similar_pictures_are_used_can_be_set(visit):
    page = visit()
    page.tab.locator("#settings-open").click()
    for name, value in {
        "cacheK": 4,
        "cacheWeight": 0.7,
        "cacheTemperature": 30,
        "temperature": 0.4,
        "topP": 0.9,
    }.items():
        page.tab.locator(f"#setting-{name}").fill(str(value))
    page.tab.fill("#setting-seed", "7")
    page.tab.fill("#setting-maxTokens", "20")
    page.shot("settings")
    bodies = page.sent()
    page.attach("Sound", "bird.flac")
    page.ask("What do you hear?")
    assert bodies[0]["cache"] == {"k": 4, "temperature": 30, "weight": 0.7}
    assert [bodies[0][name] for name in ("temperature", "top_p", "seed", "max_completion_tokens")] == [
        0.4,
        0.9,
        7,
        20,
    ]
    assert "×" in page.tab.locator(".gallery").inner_text()
    page.tab.get_by_role("button", name="Reset these settings").click()
    assert page.tab.locator("#setting-seed").input_value() == ""
    page.ask("What do you hear?")
    assert "seed" not in bodies[1]


@pytest.mark.parametrize(
    ("digit", "strokes"),
    [
        ("seven", [[(0.3, 0.22), (0.7, 0.22), (0.46, 0.8)]]),
        ("one", [[(0.5, 0.2), (0.5, 0.8)]]),
        ("four", [[(0.36, 0.2), (0.3, 0.55), (0.72, 0.55)], [(0.64, 0.2), (0.64, 0.85)]]),
    ],
)
def test_draw_a_digit(visit, digit, strokes):
    page = visit()
    page.tab.get_by_label("Sketch", exact=True).click()
    draw(page, [[(0.1, 0.1), (0.9, 0.9)]])
    page.tab.get_by_label("Undo").click()
    assert page.tab.get_by_role("button", name="Use sketch").is_disabled()
    draw(page, strokes)
    page.shot(f"sketch-{digit}")
    page.tab.get_by_role("button", name="Use sketch").click()
    page.drawn()
    assert digit in page.ask("What digit is this?")
    page.shot(f"sketch-{digit}-answer")


def draw(page, strokes):
    box = page.tab.locator(".pad").bounding_box()
    for stroke in strokes:
        for number, (x, y) in enumerate(stroke):
            page.tab.mouse.move(
                box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8 if number else 1
            )
            if not number:
                page.tab.mouse.down()
        page.tab.mouse.up()


@pytest.mark.parametrize("file", ["airplane.glb", "ship.obj", "three.ply", "five.npy"])
def test_a_shape_can_be_turned_and_asked_about(visit, file):
    page = visit()
    page.attach("3D shape", file)
    page.tab.locator(".chip .thumb").click()
    canvas = page.tab.locator(".preview canvas")
    canvas.wait_for()
    page.tab.wait_for_timeout(600)
    before = canvas.screenshot()
    box = canvas.bounding_box()
    page.tab.mouse.move(box["x"] + 300, box["y"] + 200)
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + 460, box["y"] + 230, steps=6)
    page.tab.mouse.up()
    page.tab.wait_for_timeout(600)
    turned = canvas.screenshot()
    assert turned != before
    page.shot(f"shape-{file.rpartition('.')[2]}")
    canvas.press("ArrowRight")
    page.tab.wait_for_timeout(600)
    assert canvas.screenshot() != turned
    page.close()
    assert file.partition(".")[0] in page.ask("What is this?")


def test_mix_two_media_with_weights(visit):
    page = visit()
    page.attach("Picture", "airplane.jpg")
    page.attach("Sound", "frog.wav")
    for chip in page.tab.locator(".chip").all():
        chip.locator("input[type=range]").fill("0.5")
    assert page.tab.locator(".chip output").all_inner_texts() == ["0.50", "0.50"]
    page.shot("mixture-weights")
    bodies = page.sent()
    assert page.ask("What do you see and hear?") == "I see and hear an airplane and a frog."
    parts = bodies[0]["messages"][0]["content"]
    assert [(part["type"], part.get("weight")) for part in parts] == [
        ("image", 0.5),
        ("audio", 0.5),
        ("text", None),
    ]
    page.shot("mixture")
    page.tab.locator(".question").hover()
    page.tab.get_by_label("Edit").click()
    slider = page.tab.locator(".chip").first.locator("input[type=range]")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowLeft")
    assert page.tab.locator(".chip output").first.inner_text() == "0.00"
    page.shot("mixture-edited")
    assert "frog" in page.ask("What do you hear?")
    assert page.tab.locator(".turn").count() == 2


def test_words_as_a_medium(visit):
    page = visit()
    page.tab.locator("#attach").click()
    page.tab.get_by_role("menuitem").filter(has_text="Words as a medium").click()
    page.tab.keyboard.type("a photo of a ship")
    page.tab.keyboard.press("Enter")
    page.drawn()
    bodies = page.sent()
    assert page.ask("What is it?") == "It is a ship."
    assert bodies[0]["messages"][0]["content"][0] == {
        "type": "text",
        "text": "a photo of a ship",
        "as_media": True,
        "weight": 1,
    }


def test_what_a_file_is_can_be_chosen(visit):
    page = visit()
    page.attach("Picture", "eight_depth.png")
    page.tab.locator("select.chip-kind").select_option("depth")
    page.drawn()
    bodies = page.sent()
    assert "eight" in page.ask("What do you see in the depth map?")
    assert bodies[0]["messages"][0]["content"][0]["type"] == "depth"


def test_a_dialog_goes_on_and_can_be_changed(visit):
    page = visit()
    page.attach("Picture", "three.jpg")
    assert "three" in page.ask("Which digit do you see?")
    assert page.ask("What comes after it?") == "Four comes after three."
    page.shot("dialog")
    page.tab.locator(".turn.answer:last-child").get_by_label("Answer again").click()
    page.tab.get_by_text("2/2").wait_for()
    assert page.tab.get_by_text("variety is at 0").is_visible()
    page.tab.get_by_label("Earlier answer").click()
    page.tab.get_by_text("1/2").wait_for()
    page.tab.locator(".turn.answer:last-child").get_by_label("Copy").click()
    assert page.tab.evaluate("navigator.clipboard.readText()") == "Four comes after three."
    page.tab.locator(".question").last.hover()
    page.tab.locator(".question").last.get_by_label("Edit").click()
    assert page.ask("Is it odd or even?") == "Three is odd."
    assert page.tab.locator(".turn").count() == 4


def test_chats_stay_are_renamed_saved_and_deleted(visit, tmp_path):
    page = visit()
    page.attach("Picture", "horse.jpg")
    page.ask("What is this?")
    page.tab.reload()
    page.tab.get_by_role("button", name="What is this?", exact=True).click()
    assert "horse" in page.answer()
    assert page.tab.locator(".question .thumb img").is_visible()
    page.tab.locator(".turn.answer").get_by_label("Answer again").click()
    assert "horse" in page.answer()  # the picture itself is still there
    act(page, "Rename")
    page.tab.keyboard.type("My horse")
    page.tab.keyboard.press("Enter")
    page.tab.get_by_role("button", name="My horse", exact=True).wait_for()
    for entry, end in (("Save as text", ".md"), ("Save as data", ".json")):
        with page.tab.expect_download() as download:
            act(page, entry)
        assert download.value.suggested_filename == f"My-horse{end}"
        download.value.save_as(tmp_path / f"chat{end}")
    kept = json.loads((tmp_path / "chat.json").read_text())
    assert kept["messages"][0]["media"] == [{"modality": "image", "name": "horse.jpg", "weight": 1}]
    assert "horse.jpg" in (tmp_path / "chat.md").read_text()
    page.shot("chats")
    act(page, "Delete")
    page.tab.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.tab.wait_for_selector(".welcome h2")
    page.until("!document.querySelector('.chat')")


def act(page, entry):
    page.tab.locator(".chat .icon-button").click()
    page.tab.get_by_role("menuitem", name=entry).click()


def test_in_chinese(visit):
    page = visit(locale="zh-CN")
    assert page.tab.locator("h2", has_text="一起看看什么？").is_visible()
    assert page.tab.evaluate("document.documentElement.lang") == "zh-CN"
    page.shot("chinese-welcome")
    page.attach("图片", "car.jpg")
    assert page.ask("这是什么？") == "这是一辆汽车。"
    assert page.tab.locator(".caption-note").inner_text() == "说明文字保留图库原文。"
    page.tab.locator("#settings-open").click()
    page.shot("chinese")
    page.tab.locator("#language").click()
    assert page.tab.locator("#question").get_attribute("placeholder") == "Ask about anything"
    page.tab.reload()
    page.tab.locator("h2", has_text="What shall we look at?").wait_for()


def test_an_error_says_what_to_do(visit, tmp_path):
    page = visit()
    page.refusals = True
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    page.attach("Picture", tmp_path / "broken.png")
    page.tab.fill("#question", "What is this?")
    page.tab.press("#question", "Enter")
    card = page.tab.get_by_role("alert")
    assert "The server cannot answer this" in card.inner_text()
    assert "image" in card.locator(".error-words").inner_text()
    page.shot("error")
    assert card.get_by_role("button", name="Edit").is_visible()
    card.get_by_role("button", name="Try again").click()
    card.wait_for()
    page.tab.wait_for_selector("#stop", state="hidden")
    page.tab.locator(".question").hover()
    page.tab.get_by_label("Edit").click()
    page.tab.get_by_label("Remove broken.png").click()
    page.attach("Picture", "ship.jpg")
    assert page.ask("What is this?") == "It is a ship."


def test_a_bad_attachment_is_named(visit, tmp_path):
    page = visit()
    page.refusals = True
    page.ask("Hello")  # so that places are not those of the question alone
    (tmp_path / "text.png").write_text("no picture")
    page.attach("Picture", "car.jpg")
    page.attach("Picture", tmp_path / "text.png")
    chip = page.tab.locator(".chip").last
    assert "text.png" in chip.inner_text()
    assert "Looks damaged" in chip.locator(".chip-problem").inner_text()
    place = "messages[2].content[1]"
    words = {
        "error": {
            "message": f"{place}.image: not a readable image",
            "type": "invalid_request_error",
            "param": place,
            "code": None,
        }
    }
    page.tab.route("**/v1/chat/completions", lambda route: route.fulfill(status=400, json=words), times=1)
    page.tab.fill("#question", "What is this?")
    page.tab.press("#question", "Enter")
    card = page.tab.get_by_role("alert")
    assert card.locator(".error-words").inner_text() == "text.png: not a readable image"
    assert page.tab.locator(".given .refused .given-file").all_inner_texts() == ["text.png"]
    page.shot("error-attachment")
    card.get_by_role("button", name="Edit").click()
    assert page.tab.locator(".chip.bad .chip-name").all_inner_texts() == ["text.png"]
    page.tab.get_by_label("Remove text.png").click()
    assert page.ask("What is this?") == "It is a car."


def test_an_empty_file_is_not_sent(visit, tmp_path):
    page = visit()
    (tmp_path / "empty.wav").write_bytes(b"")
    page.attach("Sound", tmp_path / "empty.wav")
    page.tab.get_by_text("The file is empty").wait_for()
    page.tab.locator("#send").click()
    page.tab.get_by_text("“empty.wav” is empty. Remove it, then send.").wait_for()
    assert page.tab.locator(".turn").count() == 0
    assert page.tab.evaluate("document.activeElement.className").endswith("chip-remove")


def drop(page, *files):
    page.tab.evaluate(
        """(files) => {
          const carried = new DataTransfer();
          for (const [name, text] of files) {
            carried.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name));
          }
          dispatchEvent(new DragEvent('drop', { dataTransfer: carried, bubbles: true, cancelable: true }));
        }""",
        [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in files],
    )
    page.tab.locator(".chip").nth(len(files) - 1).wait_for()
    page.drawn()


def test_what_dropped_files_are_is_told_by_their_content(visit, tmp_path):
    page = visit()
    made = {name: tmp_path / name for name in ("ship.txt", "cloud.txt", "cloud.npy", "map.npy")}
    made["ship.txt"].write_text("a photo of a ship")
    made["cloud.txt"].write_text("0 0 1\n1 0 0\n0 1 0\n1 1 1\n")
    np.save(made["cloud.npy"], np.zeros((9, 3)))
    np.save(made["map.npy"], np.ones((8, 9)))
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name, more in (("moves.gif", frames[1:]), ("still.gif", [])):
        made[name] = tmp_path / name
        frames[0].save(made[name], save_all=True, append_images=more)
    drop(page, *made.values())
    kinds = page.tab.locator(".chip select").evaluate_all("(all) => all.map((one) => one.value)")
    assert kinds == ["text", "point", "point", "", "video", "image"]
    page.tab.locator("#send").click()
    page.tab.get_by_text("Say what “map.npy” is, then send.").wait_for()
    page.shot("kinds")
    chooser = page.tab.locator(".chip").nth(3).locator("select")
    chooser.select_option("depth")
    page.drawn()
    assert page.tab.locator(".chip.bad").count() == 0
    for name in list(made)[1:]:
        page.tab.get_by_label(f"Remove {name}").click()
    bodies = page.sent()
    assert page.ask("What is it?") == "It is a ship."
    assert bodies[0]["messages"][0]["content"][0]["text"] == "a photo of a ship"


def test_a_file_no_model_takes_says_what_it_takes(visit, tmp_path):
    page = visit()
    (tmp_path / "doc.pdf").write_text("%PDF")
    page.attach("Picture", "car.jpg")
    drop(page, tmp_path / "doc.pdf")
    toast = page.tab.locator(".toast")
    assert "“doc.pdf”. It takes: Picture, Video, Sound" in toast.inner_text()
    page.until(
        "document.querySelector('.toast').getBoundingClientRect().bottom"
        " <= document.querySelector('.chip').getBoundingClientRect().top"
    )


def test_a_chat_too_long_can_be_begun_anew(visit):
    page = visit()
    page.refusals = True
    page.tab.fill("#question", "Hello. " * 200)
    page.tab.press("#question", "Enter")
    card = page.tab.get_by_role("alert")
    assert "This chat is too long for the model" in card.inner_text()
    assert "Shorten the question or start a new chat." in card.inner_text()
    page.shot("too-long")
    card.get_by_role("button", name="New chat").click()
    page.tab.wait_for_selector(".welcome h2")
    assert page.tab.locator(".turn").count() == 0


def test_a_dialog_too_long_can_go_on_alone(visit):
    page = visit()
    page.refusals = True
    page.ask("Hello. " * 30)
    page.ask("Hello. " * 30)
    page.tab.fill("#question", "Hello. " * 30)
    page.tab.press("#question", "Enter")
    page.tab.get_by_role("button", name="Ask without earlier turns").click()
    page.tab.get_by_text("Asked without the earlier turns").wait_for()
    assert page.answer()


def test_a_busy_server_is_asked_again_later(visit):
    page = visit()
    page.refusals = True
    words = {
        "error": {
            "message": "256 requests wait already",
            "type": "rate_limit_error",
            "param": None,
            "code": None,
        }
    }
    page.tab.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(status=429, json=words, headers={"Retry-After": "2"}),
        times=1,
    )
    page.tab.fill("#question", "Hello")
    page.tab.press("#question", "Enter")
    card = page.tab.get_by_role("alert")
    assert "256 requests wait already" in card.inner_text()
    assert card.get_by_role("button").is_disabled()
    card.get_by_role("button", name="Try again", exact=True).click()
    assert page.answer()


def test_an_error_inside_a_stream_keeps_what_has_come(visit):
    page = visit()
    body = 'data: {"choices":[{"index":0,"delta":{"content":"Half an"}}]}\n\n'
    body += 'data: {"error":{"message":"out of memory"}}\n\n'
    page.tab.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(status=200, body=body, content_type="text/event-stream"),
        times=1,
    )
    page.tab.fill("#question", "Hello")
    page.tab.press("#question", "Enter")
    assert "out of memory" in page.tab.get_by_role("alert").inner_text()
    assert "Half an" in page.answer()
    page.tab.get_by_role("button", name="Try again").click()
    page.tab.get_by_role("alert").wait_for(state="detached")
    assert page.answer()


def test_a_banner_while_the_server_is_away(visit):
    page = visit()
    page.refusals = True
    page.tab.context.set_offline(True)
    page.tab.fill("#question", "Hello")
    page.tab.press("#question", "Enter")
    assert "cannot be reached" in page.tab.get_by_role("alert").inner_text()
    assert page.tab.locator("#banner").is_visible()
    page.shot("away")
    page.tab.context.set_offline(False)
    page.tab.locator("#banner").wait_for(state="hidden")
    page.tab.get_by_role("button", name="Try again").click()
    page.tab.get_by_role("alert").wait_for(state="detached")
    assert page.answer()


def test_a_key_is_asked_for(visit):
    def lock(tab):
        refused = {
            "error": {
                "message": "a key is needed",
                "type": "authentication_error",
                "param": None,
                "code": "invalid_api_key",
            }
        }

        def check(route):
            if route.request.headers.get("authorization") == "Bearer right":
                route.continue_()
            else:
                route.fulfill(status=401, json=refused)

        tab.route("**/v1/**", check)

    page = visit(examples=False, prepare=lock)
    page.refusals = True
    page.errors.clear()
    for key in ("wrong", "right"):
        page.tab.locator("dialog input[type=password]").fill(key)
        if key == "wrong":
            page.shot("key")
        page.tab.keyboard.press("Enter")
        if key == "wrong":
            page.tab.get_by_text("This key was not accepted.").wait_for()
    page.tab.wait_for_selector(".example")
    assert page.ask("Hello")
    assert page.tab.evaluate("sessionStorage.getItem('imagebind-llm.key')") == "right"
    assert "right" not in page.tab.evaluate("JSON.stringify(localStorage)")
    page.errors.clear()  # the refusals before the key


def test_an_answer_can_be_stopped(visit):
    page = visit()
    page.tab.route("**/v1/chat/completions", lambda _: None, times=1)
    page.tab.fill("#question", "Hello")
    page.tab.press("#question", "Enter")
    page.tab.locator("#stop").click()
    page.tab.locator(".turn.answer").get_by_text("Stopped").wait_for()
    assert page.tab.locator("#send").is_visible()
    assert page.tab.get_by_role("alert").count() == 0
    page.tab.locator(".turn.answer").get_by_label("Answer again").click()
    assert page.answer()


def test_record_and_ask(visit):
    page = visit()
    page.tab.get_by_label("Record sound").click()
    page.tab.get_by_role("button", name="Record", exact=True).click()
    page.tab.wait_for_timeout(1500)
    page.shot("microphone")
    page.tab.get_by_role("dialog").get_by_role("button", name="Stop").click()
    page.tab.get_by_role("button", name="Use recording").click()
    page.drawn()
    bodies = page.sent()
    assert page.ask("What do you hear?")
    assert bodies[0]["messages"][0]["content"][0]["audio"]["data"].startswith("UklGR")  # RIFF


def test_take_a_picture_and_ask(visit):
    page = visit()
    page.tab.get_by_label("Camera", exact=True).click()
    page.until("document.querySelector('video.camera')?.videoWidth > 0")
    page.tab.get_by_role("button", name="Take picture").click()
    page.drawn()
    assert page.ask("What is this?")


def test_without_a_camera_the_page_says_why(visit):
    refuse = (
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }"
    )
    page = visit(prepare=lambda tab: tab.add_init_script(refuse))
    page.tab.get_by_label("Camera", exact=True).click()
    page.tab.get_by_text("The camera is blocked.").wait_for()
    assert page.tab.get_by_role("button", name="Take picture").is_disabled()


def test_drop_and_paste(visit):
    page = visit()
    page.tab.evaluate(
        """async () => {
          const blob = await (await fetch('/examples/bird.jpg')).blob();
          const carried = new DataTransfer();
          carried.items.add(new File([blob], 'dropped.jpg', { type: 'image/jpeg' }));
          for (const kind of ['dragenter', 'dragover', 'drop']) {
            dispatchEvent(new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true }));
          }
          document.getElementById('question').dispatchEvent(
            new ClipboardEvent('paste', { clipboardData: carried, bubbles: true, cancelable: true }));
        }"""
    )
    page.tab.locator(".chip").nth(1).wait_for()
    assert page.tab.locator("#drop").is_hidden()
    page.drawn()
    assert "bird" in page.ask("What is this?")


def test_the_map(visit):
    page = visit()
    page.tab.locator("#map-open").click()
    page.tab.locator(".map-legend button").first.wait_for()
    page.tab.get_by_role("button", name="Closer").click()
    page.close()
    page.attach("Sound", "bird.flac")
    page.ask("What do you hear?")
    page.tab.get_by_label("Show on the map").click()
    page.tab.get_by_text("Nearest: a photo of a bird.").wait_for()
    page.tab.get_by_text("What you gave", exact=True).wait_for()
    captions = page.tab.locator(".map-legend button").all_inner_texts()
    assert captions[0] == "a photo of a bird"
    assert len(captions) == len(set(captions)) == 21
    marks = page.tab.locator(".map-legend button i").evaluate_all(
        "(all) => all.map((one) => one.className + one.style.background)"
    )
    assert len(set(marks)) >= 20
    page.shot("map")
    canvas = page.tab.locator(".map-canvas")
    box = canvas.bounding_box()
    for step in range(60):
        page.tab.mouse.move(box["x"] + 100 + step * (box["width"] - 200) / 60, box["y"] + box["height"] / 2)
        if page.tab.locator(".map-tip").is_visible():
            break
    assert page.tab.locator(".map-tip").inner_text()
    page.shot("map-caption")
    before = canvas.screenshot()
    canvas.press("+")
    page.tab.wait_for_timeout(200)
    assert canvas.screenshot() != before
    page.tab.locator(".map-legend button").first.click()
    page.close()


def test_pictures_of_the_cache_are_shown(visit):
    """Nano's cache holds captions only; other caches hold pictures too."""
    page = visit()
    names = ["bird.jpg", "airplane.jpg", "seven.png"]
    found = [
        {
            "rank": n + 1,
            "index": n,
            "similarity": 0.7 - n / 100,
            "share": 0.1,
            "caption": names[n % 3],
            "picture": f"/v1/cache/pictures/{n}",
        }
        for n in range(10)
    ]
    chunk = {
        "choices": [{"index": 0, "delta": {"content": "A bird."}}],
        "imagebind": {"cached": True, "media": [], "retrieved": found},
    }
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
    page.tab.route(
        "**/v1/chat/completions", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    page.tab.route(
        "**/v1/cache/pictures/*",
        lambda route: route.fulfill(path=INPUTS / names[int(route.request.url[-1]) % 3]),
    )
    page.ask("What is this?")
    page.tab.get_by_role("button", name="Show all 10").click()
    page.until("document.querySelectorAll('.tile img').length === 10")
    page.shot("gallery")


def test_an_answer_cannot_act(visit):
    page = visit()
    words = (
        "**bold** <img src=x onerror=alert(1)> <script>alert(1)</script> [link](javascript:alert(1)) "
        '<b style="color:red">red</b> <iframe src="/"></iframe> [out](https://example.org)'
    )
    body = f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': words}}]})}\n\ndata: [DONE]\n\n"
    page.tab.route(
        "**/v1/chat/completions", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    assert "bold" in page.ask("<b>What</b> is this?")
    assert page.tab.locator(".bubble").inner_text() == "<b>What</b> is this?"
    prose = page.tab.locator(".prose")
    assert prose.locator("strong").count() == 1
    assert prose.locator("img, script, iframe, [style], [href^=javascript]").count() == 0
    assert prose.locator("a", has_text="out").get_attribute("rel") == "noopener noreferrer nofollow"


def test_on_a_phone(visit):
    page = visit(viewport=PHONE)
    assert page.fits()
    page.shot("phone-welcome")
    page.attach("Picture", "airplane.jpg")
    page.attach("Sound", "frog.wav")
    assert page.fits()
    page.shot("phone-attached")
    page.ask("What do you see and hear?")
    assert page.fits()
    page.shot("phone-answer")
    page.tab.locator("#side-open").click()
    page.tab.locator("#side-close:focus").wait_for()
    page.shot("phone-chats")
    page.tab.keyboard.press("Escape")
    page.tab.locator("#side").wait_for(state="hidden")
    page.tab.locator("#settings-open").click()
    page.shot("phone-settings")
    page.tab.keyboard.press("Escape")
    assert page.tab.locator("#settings").is_hidden()
    page.tab.get_by_label("Sketch", exact=True).click()
    page.shot("phone-sketch")
    box = page.tab.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    assert box["y"] + box["height"] <= PHONE["height"]


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_in_the_dark(visit, viewport):
    page = visit(viewport=viewport, scheme="dark")
    name = "dark" if viewport == DESK else "phone-dark"
    assert page.tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 22, 26)"
    page.shot(f"{name}-welcome")
    page.attach("Sound", "bird.flac")
    page.shot(f"{name}-attached")
    page.ask("What do you hear?")
    page.shot(f"{name}-answer")
    page.tab.locator("#settings-open").click()
    page.shot(f"{name}-settings")
    page.tab.get_by_role("radio", name="Light").check()
    page.until("getComputedStyle(document.body).backgroundColor === 'rgb(251, 250, 248)'")
    page.tab.reload()
    assert page.tab.evaluate("document.documentElement.dataset.theme") == "light"


def test_by_keyboard(visit):
    page = visit()
    page.tab.locator(".brand").focus()
    page.tab.keyboard.press("Shift+Tab")
    assert page.tab.evaluate("document.activeElement.className") == "skip"
    page.tab.keyboard.press("Enter")
    assert page.tab.evaluate("document.activeElement.id") == "question"
    page.tab.keyboard.type("What is")
    page.tab.keyboard.press("Shift+Enter")
    page.tab.keyboard.type("this?")
    assert page.tab.locator("#question").input_value() == "What is\nthis?"
    page.tab.fill("#question", "")
    page.tab.locator("#attach").focus()
    page.tab.keyboard.press("Enter")
    page.tab.keyboard.press("ArrowUp")
    assert "Words as a medium" in page.tab.evaluate("document.activeElement.innerText")
    page.tab.keyboard.press("Escape")
    assert page.tab.evaluate("document.activeElement.id") == "attach"
    outline = page.tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.tab.locator("#settings-open").press("Enter")
    page.attach("Picture", "car.jpg")
    nameless = page.tab.evaluate(
        """[...document.querySelectorAll('button, input, select, textarea, a')].filter((one) =>
          one.checkVisibility() && !(one.ariaLabel || one.innerText?.trim() || one.labels?.length)
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    page.ask("What is this?")
    assert page.tab.locator("#live").inner_text() == "It is a car."


def test_only_what_the_model_takes_is_offered(visit):
    def less(tab):
        models = {
            "object": "list",
            "data": [
                {"id": "small", "object": "model", "modalities": ["image", "text", "tactile"], "cache": None}
            ],
        }
        tab.route("**/v1/models", lambda route: route.fulfill(json=models))

    page = visit(prepare=less)
    assert page.tab.locator(".example").count() == 2
    assert page.tab.locator("#map-open").is_hidden()
    assert page.tab.get_by_label("Record sound").count() == 0
    page.tab.locator("#attach").click()
    entries = page.tab.get_by_role("menuitem").all_inner_texts()
    assert [entry.split("\n")[0] for entry in entries] == [
        "Picture",
        "tactile",
        "Sketch",
        "Camera",
        "Words as a medium",
    ]
