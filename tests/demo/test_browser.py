"""The page in headless Chromium: what a person does with it, and which requests that makes."""

import base64
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import code_jax
from code_jax.pictures.provenance import read_facts
from code_jax.priors.load import bundled_samples

pytestmark = pytest.mark.browser

WIDE, PHONE = (1400, 900), (390, 844)


class Page:
    """One browser with the page open; its network and console are logged."""

    def __init__(self, address):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        self.resize(*WIDE)
        self.address, self._requests = address, []
        self.driver.get(address)
        self.wait(lambda: self.all("#pictures button"))

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def wait(self, condition, seconds=120):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: condition())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def resize(self, width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def set(self, control, value):
        events = "for (const name of ['input', 'change']) arguments[0].dispatchEvent(new Event(name, {bubbles: true}))"
        self.run(f"arguments[0].value = arguments[1]; {events}", self.one(f"#{control}"), value)

    def value(self, control):
        return self.one(f"#{control}").get_property("value")

    def upload(self, path):
        self.one("#file").send_keys(str(path))

    def shown(self):
        return self.run("return document.querySelector('#easel').hidden ? null : document.querySelector('#picture').toDataURL()")

    def status(self, panel="restore"):
        return self.one(f"#panel-{panel} .status").text

    def press(self, panel="restore", until="done"):
        self.one(f"#{panel}").click()
        self.wait(lambda: self.status(panel) in ("done", "failed", "cancelled"))
        assert self.status(panel) == until

    def picture(self, selector, attribute="src"):
        url = self.one(selector).get_attribute(attribute)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))

    def drag(self, points):
        from selenium.webdriver import ActionChains

        box, canvas = self.one("#canvases").rect, self.one("#canvases")
        at = [((x - 0.5) * box["width"], (y - 0.5) * box["height"]) for x, y in points]
        actions = ActionChains(self.driver, duration=50).move_to_element_with_offset(canvas, *map(int, at[0])).click_and_hold()
        for x, y in at[1:]:
            actions = actions.move_to_element_with_offset(canvas, int(x), int(y))
        actions.release().perform()

    def requests(self):
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._requests.append(message["params"]["request"]["url"])
        return self._requests

    def close(self):
        errors = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        requests = self.requests()
        self.driver.quit()
        assert not errors
        assert requests and all(url.startswith((self.address, "data:", "blob:")) for url in requests), requests


@pytest.fixture
def page(address):
    page = Page(address)
    yield page
    page.close()


def choose_tiny(page, tiny_folder):
    page.set("prior", tiny_folder)
    page.set("ode-steps", 3)
    page.set("langevin-steps", 3)


def noise(tmp_path, seed):
    path = tmp_path / f"{seed}.png"
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return path


def test_upload_restore_compare_and_download(page):
    given = np.asarray(Image.open(bundled_samples()[-1]))
    page.upload(bundled_samples()[-1])
    page.wait(page.shown)
    page.set("depth-slider", 0.25)
    assert page.value("depth") == "0.25"
    page.press()
    np.testing.assert_array_equal(page.picture("#before"), given)
    result = page.picture("#after")
    assert np.abs(result.astype(int) - given).mean() > 2
    captions = [caption.text for caption in page.all("#strip figcaption")]
    assert captions == ["encoding", "correction", "decoding"]
    assert len(page.all("#strip img")) == 1 + 4 + 3 + 4  # the input, then four of a stage, or all of it

    page.set("compare-slider", 20)
    clip = "return getComputedStyle(document.querySelector('#after')).clipPath"
    assert page.run(clip) == "inset(0px 0px 0px 20%)"

    file = io.BytesIO(base64.b64decode(page.one("#download").get_attribute("href").partition(",")[2]))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), result)
    facts = read_facts(file)
    assert facts["settings"]["depth"] == 0.25 and facts["settings"]["prior"] == "eurosat-64" and facts["seed"] == 0
    assert "--depth 0.25" in page.one("#command").text and "depth=0.25" in page.one("#python").text


@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_nothing_runs_over_the_edge_of_a_wide_or_a_phones_window(page, tiny_folder, size, tmp_path):
    page.resize(*size)
    choose_tiny(page, tiny_folder)
    page.upload(noise(tmp_path, 0))
    page.wait(page.shown)
    page.press()
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    page.one("#tab-sweep").click()
    page.press("sweep")
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    for selector in ("#sweep", "#cells", "#depths"):
        box = page.one(selector).rect
        assert box["x"] >= 0 and box["width"] > 0


def test_a_sweep_fills_its_grid_and_a_click_takes_a_cell_over(page, tiny_folder, tmp_path):
    choose_tiny(page, tiny_folder)
    page.upload(noise(tmp_path, 1))
    page.wait(page.shown)
    page.one("#tab-sweep").click()
    page.set("depths", "0.2, 0.55")
    page.set("relative-steps", "0.01 0.1 0.3")
    page.press("sweep")
    assert len(page.all("#cells tr")) == 3 and len(page.all("#cells td img")) == 6
    cell = page.picture("#cells tr:nth-child(3) td:nth-child(3) img")
    page.one("#cells tr:nth-child(3) td:nth-child(3) button").click()
    assert (page.value("depth"), page.value("relative-step")) == ("0.55", "0.1")
    np.testing.assert_array_equal(page.picture("#after"), cell)
    page.press()
    np.testing.assert_array_equal(page.picture("#after"), cell)


def test_samples_are_chosen_among_and_their_diversity_is_told(page, tiny_folder, tmp_path):
    choose_tiny(page, tiny_folder)
    page.upload(noise(tmp_path, 4))
    page.wait(page.shown)
    page.set("samples", 3)
    page.press()
    facts = page.one("#facts").text
    pictures = [page.picture(f"#chosen button:nth-child({k}) img") for k in (1, 2, 3)]
    told = float(facts.splitlines()[facts.splitlines().index("diversity: RMS difference of the 3 samples") + 1])
    expected = code_jax.metrics.diversity(code_jax.from_uint8(np.stack(pictures)[:, None]))[0]
    assert told == pytest.approx(float(expected), abs=1e-4) and "fidelity: PSNR to the input" in facts
    np.testing.assert_array_equal(page.picture("#after"), pictures[0])
    page.one("#chosen button:nth-child(3)").click()
    np.testing.assert_array_equal(page.picture("#after"), pictures[2])
    assert page.one("#download").get_attribute("download") == "result_3.png"
    assert "--samples 3" in page.one("#command").text and len(page.all("#strip img")) == 1 + 3 + 3 + 4
    np.testing.assert_array_equal(page.picture("#strip figure:last-child div > div:last-child img"), pictures[2])


def test_all_controls_have_names_and_the_page_is_worked_by_keys(page, tiny_folder, tmp_path):
    unnamed = """return [...document.querySelectorAll("button, input, select, a, [tabindex], canvas:not([aria-hidden])")]
        .filter((each) => !(each.labels?.length || each.ariaLabel || each.textContent.trim() || each.title))
        .map((each) => each.outerHTML)"""
    assert page.run(unnamed) == []
    choose_tiny(page, tiny_folder)
    page.upload(noise(tmp_path, 5))
    page.wait(page.shown)
    page.one("#restore").send_keys("\n")
    page.wait(lambda: page.status() == "done")
    page.one("#compare-slider").send_keys("\ue014" * 3)  # the right arrow key
    assert page.value("compare-slider") == "53"
    page.one("#tab-restore").send_keys("\ue014")
    assert page.one("#panel-sweep").is_displayed() and page.run("return document.activeElement.id") == "tab-sweep"
    assert page.run("return document.querySelector('#message').role") == "alert"


def test_a_bad_file_and_a_bad_setting_are_messages_and_the_page_goes_on(page, tiny_folder, tmp_path):
    choose_tiny(page, tiny_folder)
    page.press(until="failed")
    assert page.one("#message").text == "no picture: drop one on the page, or pick a sample"
    (tmp_path / "text.png").write_text("no picture at all")
    page.upload(tmp_path / "text.png")
    page.wait(lambda: "the picture is no picture" in page.one("#message").text)
    assert page.shown() is None
    page.upload(noise(tmp_path, 2))
    page.wait(page.shown)
    assert not page.one("#message").is_displayed()
    page.set("depth", 7)
    page.press(until="failed")
    assert page.one("#message").text == "depth is [7.0]; it must be in (0, 1]"
    page.set("depth", 0.5)
    page.press()
    assert not page.one("#message").is_displayed()


def test_what_runs_is_cancelled(page, tiny_folder, tmp_path):
    choose_tiny(page, tiny_folder)
    page.upload(noise(tmp_path, 3))
    page.wait(page.shown)
    page.one("#tab-sweep").click()
    page.set("depths", " ".join(str(k / 11) for k in range(1, 11)))
    page.set("relative-steps", " ".join(str(k / 11) for k in range(1, 11)))
    page.one("#sweep").click()
    page.wait(lambda: page.all("#cells td img"))
    page.one("#panel-sweep .cancel").click()
    page.wait(lambda: page.status("sweep") == "cancelled")
    assert len(page.all("#cells td img")) < 100
    page.one("#tab-restore").click()
    page.press()


def test_two_people_at_once_get_their_own(address, tiny_folder, tmp_path):
    pages = [Page(address), Page(address)]
    alone = []
    for seed, page in enumerate(pages):
        choose_tiny(page, tiny_folder)
        page.upload(noise(tmp_path, seed))
        page.wait(page.shown)
        page.set("seed", seed)
        page.set("depth", 0.3 + seed / 3)
        page.press()
        alone.append(page.picture("#after"))
    for _ in range(3):
        for page in pages:
            page.run("document.querySelector('#after').removeAttribute('src'); document.querySelector('#restore').click()")
        for page, expected in zip(pages, alone, strict=True):
            page.wait(lambda page=page: page.one("#after").get_attribute("src"))
            np.testing.assert_array_equal(page.picture("#after"), expected)
    assert not np.array_equal(*alone)
    for page in pages:
        page.close()


def test_strokes_guide_and_a_mask_limits(page):
    page.one("#pictures button[title='contrast_32.png']").click()
    page.wait(page.shown)
    page.set("ode-steps", 4)
    page.set("langevin-steps", 4)
    plain = page.shown()
    page.drag([(0.2, 0.3), (0.8, 0.3)])
    assert page.shown() != plain
    page.one("input[value=mask]").click()
    page.set("brush", 12)
    page.drag([(0.2, 0.6), (0.8, 0.6)])
    page.press()
    before, after = page.picture("#before"), page.picture("#after")
    stroke = np.array([0x2E, 0x6B, 0x2E])
    assert np.all(before[int(0.3 * 64), 32] == stroke)
    mask = page.picture("#download-mask", "href")[..., 0] > 127
    assert 100 < mask.sum() < 2000 and mask[int(0.6 * 64), 32] and not mask[5, 5]
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert np.mean(np.any(after != before, axis=-1)[mask]) > 0.5
    assert "--mask MASK" in page.one("#command").text
    page.one("#clear").click()
    page.wait(lambda: page.shown() == plain)
