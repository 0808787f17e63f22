"""The page in headless Chromium: what a person does with it, and which requests that makes."""

import signal
import time
import urllib.parse

import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.pictures.provenance import read_facts
from code_jax.priors.load import bundled_samples
from tests.demo.browser import CONTROL, LEFT, RIGHT, Page, choose_tiny, noise
from tests.demo.conftest import demo

pytestmark = pytest.mark.browser


def test_upload_restore_compare_and_save(page):
    given = np.asarray(Image.open(bundled_samples()[-1]))
    page.upload(bundled_samples()[-1])
    page.ready()
    np.testing.assert_array_equal(page.picture("#picture"), given)
    page.set("sigma-slider", 0)
    assert page.value("sigma") == "1"
    page.press()
    np.testing.assert_array_equal(page.picture("#before"), given)
    result = page.picture("#after")
    assert np.abs(result.astype(int) - given).mean() > 2
    captions = [caption.get_property("textContent") for caption in page.all("#latents figcaption")]
    assert captions == ["encoding", "correction", "decoding"]
    assert len(page.all("#latents img")) == 1 + 4 + 3 + 4  # the input, then four of a stage, or all of it

    file = page.saved("#download")
    assert file.name == f"{bundled_samples()[-1].stem}_restored.png"
    np.testing.assert_array_equal(np.asarray(Image.open(file)), result)
    facts = read_facts(file)
    assert facts["settings"]["sigma"] == 1.0 and facts["settings"]["prior"] == "eurosat-64" and facts["seed"] == 0
    assert "--sigma 1.0" in page.text("command") and "'sigma': 1.0" in page.text("python")


def test_a_photograph_is_restored_at_its_own_size_and_looked_at_in_its_own_pixels(page, tiny_folder, tmp_path):
    choose_tiny(page, tiny_folder)
    page.set("fit", "tile")
    path = noise(tmp_path, 7, (90, 161))
    page.upload(path)
    page.ready()
    told = page.text("cost")
    assert told.startswith(f"{tiny_folder}, code default with other numbers: 161×90 pixels, 10 evaluations of ")
    assert "windows each, about" in told
    np.testing.assert_array_equal(page.picture("#picture"), np.asarray(Image.open(path)))
    page.press()
    result = np.asarray(Image.open(page.saved("#download")))
    assert result.shape == (90, 161, 3)
    np.testing.assert_array_equal(page.picture("#after"), result)
    assert "--fit tile" in page.text("command")

    page.click("#real-view")
    assert page.text("zoom") == "100 %"
    for _ in range(6):
        page.click("#closer")
    page.one("#stage").send_keys(RIGHT)
    divide, box = page.place(0.5, 0)[0], page.run("return document.querySelector('#layers').getBoundingClientRect().toJSON()")
    assert box["width"] > 161 * 8 and box["width"] / box["height"] == pytest.approx(161 / 90, rel=1e-3)
    share = page.run("return getComputedStyle(document.querySelector('#after')).clipPath").split()[-1].rstrip("%)")
    assert box["x"] + float(share) / 100 * box["width"] == pytest.approx(divide, abs=0.6)  # cut where the divider is
    page.one("#stage").send_keys(LEFT)
    assert page.run("return document.querySelector('#layers').getBoundingClientRect().x") > box["x"]
    page.run("document.querySelector('[value=mask]').click()")
    page.set("brush", 4)
    page.drag([(0.4, 0.5), (0.6, 0.5)])  # on what is seen of it
    page.press()
    mask = np.asarray(Image.open(page.saved("#download-mask")).convert("L")) > 127
    assert mask.shape == (90, 161) and 0 < np.ptp(np.nonzero(mask)[1]) < 40
    before, after = page.picture("#before"), page.picture("#after")
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert np.mean(np.any(after != before, axis=-1)[mask]) > 0.5
    page.click("#fit-view")
    assert page.run("return document.querySelector('#layers').getBoundingClientRect().width") < 161 * 8


def test_a_sweep_fills_its_grid_and_a_click_takes_a_cell_over(ready):
    ready.set("sigmas", "0.2, 0.55")
    ready.set("relative-steps", "0.01 0.1 0.3")
    ready.press("sweep")
    assert len(ready.all("#cells tr")) == 3 and len(ready.all("#cells td img")) == 6
    cell = ready.picture("#cells tr:nth-child(3) td:nth-child(3) img")
    ready.click("#cells tr:nth-child(3) td:nth-child(3) button")
    assert (ready.value("sigma"), ready.value("relative_step")) == ("0.55", "0.1")
    np.testing.assert_array_equal(ready.picture("#after"), cell)
    ready.press()
    np.testing.assert_array_equal(ready.picture("#after"), cell)


def test_four_are_made_and_one_is_picked(ready):
    ready.press("four")
    pictures = [ready.picture(f"#picks button:nth-child({k}) img") for k in (1, 2, 3, 4)]
    facts = dict(zip(*[iter(child.get_property("textContent") for child in ready.all("#facts > *"))] * 2, strict=True))
    told = float(facts["diversity: RMS difference of the 4 samples"])
    expected = code_jax.metrics.diversity(code_jax.from_uint8(np.stack(pictures)[:, None]))[0]
    assert told == pytest.approx(float(expected), abs=1e-4) and "fidelity: PSNR to the input" in facts
    np.testing.assert_array_equal(ready.picture("#after"), pictures[0])
    ready.click("#picks button:nth-child(3)")
    np.testing.assert_array_equal(ready.picture("#after"), pictures[2])
    file = ready.saved("#download")
    assert file.name == "0_restored_3.png" and read_facts(file)["sample"] == 2
    assert ready.value("samples") == "1" and "--samples 3" in ready.text("command")
    ready.set("sigma", 0.9)
    ready.press()
    assert len(ready.all("#strip button")) == 2
    ready.click("#strip button:nth-child(2)")  # the one before
    np.testing.assert_array_equal(ready.picture("#after"), pictures[0])
    ready.click("#reuse")
    assert ready.value("sigma") == "0.72" and ready.value("samples") == "4"


def test_progress_shows_the_picture_on_its_way_evaluations_and_time_left(ready):
    ready.set("langevin_steps", 20_000)
    ready.click("#restore")
    ready.wait(lambda: "left" in ready.text("left"))
    assert ready.text("left").startswith("evaluation ") and "of 20007, " in ready.text("left")
    assert ready.picture("#live").shape == (8, 8, 3) and 0 < ready.one("#progress").get_property("value") < 1
    assert ready.seen("cancel") and not ready.seen("restore") and ready.text("status") == "restoring"
    began = time.monotonic()
    ready.press("cancel", until="cancelled")
    assert time.monotonic() - began < 2 and not ready.seen("live") and not ready.seen("outcome")
    ready.set("langevin_steps", 3)
    assert ready.text("status") == ""  # with the next action
    ready.press()


def test_a_bad_file_and_a_bad_setting_are_messages_and_the_page_goes_on(page, tiny_folder, tmp_path):
    choose_tiny(page, tiny_folder)
    page.click("#restore")
    assert page.text("message-text") == "no picture: drop one on the page, or pick a sample"
    (tmp_path / "text.png").write_text("no picture at all")
    page.upload(tmp_path / "text.png")
    page.wait(lambda: "the picture cannot be read" in page.text("message-text"))
    assert not page.seen("stage-frame")
    page.upload(noise(tmp_path, 2))
    page.ready()
    assert not page.seen("message")
    page.set("sigma", -1)
    page.wait(lambda: page.text("message-text") == "sigma is [-1.0]; it must be in (0, 1e+30)")  # before it is started
    page.press(until="failed")
    assert page.text("message-text") == "sigma is [-1.0]; it must be in (0, 1e+30)"
    page.set("sigma", 0.5)
    page.wait(lambda: not page.seen("message"))
    assert page.text("status") == ""
    page.press()


def test_what_the_command_line_would_warn_of_is_shown_before(ready):
    ready.set("relative_step", 3)
    ready.wait(lambda: "is beyond the limit" in ready.text("warnings"))
    ready.set("relative_step", 0.1)
    ready.wait(lambda: not ready.text("warnings"))


def test_two_people_at_once_get_their_own(address, tiny_folder, tmp_path):
    pages = [Page(address, tmp_path), Page(address, tmp_path)]
    alone = []
    for seed, page in enumerate(pages):
        choose_tiny(page, tiny_folder)
        page.upload(noise(tmp_path, seed))
        page.ready()
        page.set("seed", seed)
        page.set("sigma", 0.3 + seed / 3)
        page.press()
        alone.append(page.picture("#after"))
    for _ in range(2):
        for page in pages:
            page.run("document.querySelector('#after').removeAttribute('src')")
            page.click("#restore")
        for page, expected in zip(pages, alone, strict=True):
            page.wait(lambda page=page: page.one("#after").get_attribute("src"))
            np.testing.assert_array_equal(page.picture("#after"), expected)
    assert not np.array_equal(*alone)
    for page in pages:
        page.close()


def test_strokes_guide_a_mask_limits_and_both_are_undone_and_redone(page):
    page.click("#samples-of-ours button[title='low_contrast.png']")
    page.ready()
    page.set("num_steps", 4)
    page.set("langevin_steps", 4)
    plain = page.picture("#picture")
    page.run("document.querySelector('[value=stroke]').click()")
    page.drag([(0.4, 0.3), (0.6, 0.3)])
    painted = page.picture("#picture")
    assert np.all(painted[int(0.3 * 64), 32] == [0x2E, 0x6B, 0x2E])
    page.run("document.querySelector('[value=mask]').click()")
    page.set("brush", 12)
    page.drag([(0.4, 0.6), (0.6, 0.6)])
    page.hold(CONTROL, "z")  # the mask
    assert not page.text("mask-state")
    page.click("#undo")  # the stroke
    np.testing.assert_array_equal(page.picture("#picture"), plain)
    page.click("#undo")  # a setting
    assert page.value("langevin_steps") == "3" and page.value("num_steps") == "4"
    for _ in range(3):
        page.click("#redo")
    assert page.value("langevin_steps") == "4" and page.text("mask-state")
    assert page.one("#redo").get_property("disabled")
    np.testing.assert_array_equal(page.picture("#picture"), painted)
    page.press()
    before, after = page.picture("#before"), page.picture("#after")
    np.testing.assert_array_equal(before, painted)
    mask = np.asarray(Image.open(page.saved("#download-mask")).convert("L")) > 127
    assert 100 < mask.sum() < 2000 and mask[int(0.6 * 64), 32] and not mask[5, 5]
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert np.mean(np.any(after != before, axis=-1)[mask]) > 0.5
    assert "--mask MASK" in page.text("command")
    page.run("document.querySelector('[value=erase]').click()")
    page.set("brush", 32)
    page.drag([(0.3, 0.6), (0.7, 0.6)])
    page.click("#clear")
    np.testing.assert_array_equal(page.picture("#picture"), plain)


def test_a_corruption_is_a_demonstration_beside_its_clean_source(page):
    page.click("#samples-of-ours button")
    page.ready()
    clean = page.picture("#picture")
    assert page.value("corruption") == ""
    page.set("corruption", "contrast")
    page.wait(lambda: not np.array_equal(page.picture("#picture"), clean))
    damaged = page.picture("#picture")
    page.ready()
    page.press()
    np.testing.assert_array_equal(page.picture("#clean-source"), clean)
    np.testing.assert_array_equal(page.picture("#clean-input"), damaged)
    np.testing.assert_array_equal(page.picture("#clean-result"), page.picture("#after"))
    assert page.seen("clean-beside") and "PSNR to the clean source" in page.text("facts")
    page.set("against", "clean")
    page.wait(lambda: np.array_equal(page.picture("#before"), clean))
    page.click("#samples-of-ours button:nth-child(2)")
    page.ready()
    assert page.value("corruption") == "" and not page.seen("clean-beside")


def test_several_pictures_are_a_queue(page, tiny_folder, tmp_path):
    choose_tiny(page, tiny_folder)
    (tmp_path / "bad.png").write_text("no picture at all")
    page.upload(noise(tmp_path, 1), tmp_path / "bad.png", noise(tmp_path, 2))
    page.ready()
    assert page.text("restore-all") == "Restore all 3"
    page.run("""const status = document.querySelector("#status"); window.told = new Set();
        new MutationObserver(() => told.add(status.textContent)).observe(status, {childList: true})""")
    page.click("#restore-all")
    states = lambda: [each.get_property("textContent") for each in page.all("#queue-list small")]  # noqa: E731
    page.wait(lambda: states() == ["done", "failed", "done"])
    assert {"restoring, picture 1 of 3", "restoring, picture 3 of 3"} <= set(page.run("return [...told]"))
    assert len(page.all("#strip button")) == 2
    last = page.saved("#download")
    assert last.name == "2_restored.png"


def test_after_a_restart_of_the_server_the_page_says_so_and_goes_on(tiny_folder, cache, tmp_path):
    with demo("--prior", tiny_folder, cache=cache) as (address, server):
        page = Page(address, tmp_path)
        page.upload(noise(tmp_path, 6))
        page.ready()
        page.press()
        expected = page.picture("#after")
        page.set("langevin_steps", 20_000)
        page.click("#restore")
        page.wait(lambda: "left" in page.text("left"))
        server.send_signal(signal.SIGKILL)
        page.wait(lambda: "cannot be reached" in page.text("message-text") and page.text("status") == "waiting for the server")
        server.wait()
        port = str(urllib.parse.urlsplit(address).port)
        with demo("--prior", tiny_folder, "--port", port, cache=cache):
            page.wait(lambda: "started anew" in page.text("message-text"))
            page.wait(lambda: "left" in page.text("left"))
            page.press("cancel", until="cancelled")
            page.set("langevin_steps", 3)
            page.press()
            np.testing.assert_array_equal(page.picture("#after"), expected)
            page.close(unreachable=True)
