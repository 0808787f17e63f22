"""A headless Chromium with the page open, driven as a person would: by pointer, keyboard and files."""

import base64
import io
import json
import shutil

import numpy as np
from PIL import Image

WIDE, PHONE, NARROW = (1400, 900), (390, 844), (320, 640)
TAB, CONTROL, ESCAPE, LEFT, RIGHT, SPACE, HOME = "\ue004", "\ue009", "\ue00c", "\ue012", "\ue014", " ", "\ue011"


class Page:
    """One browser with the page open; its network and console are logged."""

    def __init__(self, address, downloads, size=WIDE, dark=False):
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        self.downloads = downloads
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        self.resize(*size)
        self.colours(dark)
        self.address, self._requests = address, []
        self.driver.get(address)
        self.wait(lambda: self.all("#samples-of-ours button"))

    def cdp(self, command, **options):
        return self.driver.execute_cdp_cmd(command, options)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def wait(self, condition, seconds=120):
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        waiting = WebDriverWait(self.driver, seconds, poll_frequency=0.05, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(lambda _: condition())

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def resize(self, width, height):
        phone = width < 500
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=phone)

    def colours(self, dark, forced=False):
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp(
            "Emulation.setEmulatedMedia", features=[scheme, {"name": "forced-colors", "value": "active" if forced else "none"}]
        )

    def set(self, control, value):
        events = "for (const name of ['input', 'change']) arguments[0].dispatchEvent(new Event(name, {bubbles: true}))"
        self.run(f"arguments[0].value = arguments[1]; {events}", self.one(f"#{control}"), value)

    def value(self, control):
        return self.one(f"#{control}").get_property("value")

    def text(self, control):
        return self.one(f"#{control}").get_property("textContent")

    def seen(self, control):
        return self.one(f"#{control}").is_displayed()

    def upload(self, *paths):
        self.one("#file").send_keys("\n".join(map(str, paths)))

    def click(self, selector):
        """By the script: what is pressed may lie behind the bar, where a pointer would scroll first."""
        self.run("arguments[0].click()", self.one(selector))

    def keys(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def hold(self, modifier, key):
        from selenium.webdriver import ActionChains

        ActionChains(self.driver, duration=0).key_down(modifier).send_keys(key).key_up(modifier).perform()

    @property
    def focused(self):
        return self.run("return document.activeElement.id || document.activeElement.tagName")

    def ready(self):
        """The picture is there, and what it costs is known."""
        self.wait(lambda: self.seen("stage-frame") and "about" in self.text("cost"))

    def ends(self, how="done"):
        self.wait(lambda: self.text("status") in ("done", "failed", "cancelled"))
        assert self.text("status") == how, self.text("message-text")

    def press(self, button="restore", until="done"):
        self.click(f"#{button}")
        self.ends(until)

    def picture(self, selector):
        """The pixels of an image or a canvas of the page."""
        script = """const [from, done] = [arguments[0], arguments[1]];
            (async () => {
                if (from.decode) await from.decode();
                const [width, height] = [from.naturalWidth ?? from.width, from.naturalHeight ?? from.height];
                const canvas = Object.assign(document.createElement("canvas"), {width, height});
                canvas.getContext("2d").drawImage(from, 0, 0);
                done(canvas.toDataURL());
            })().catch((error) => done(String(error)));"""
        url = self.driver.execute_async_script(script, self.one(selector))
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))

    def saved(self, selector):
        """The file that a click on a link or button saves."""
        before = set(self.downloads.iterdir())
        self.click(selector)
        done = lambda: [p for p in set(self.downloads.iterdir()) - before if p.suffix != ".crdownload" and p.stat().st_size]  # noqa: E731
        return self.wait(done)[0]

    def place(self, x, y):
        """Where in the window a place of the stage is; x and y are shares of its size."""
        box = self.run(
            "const box = arguments[0].getBoundingClientRect(); return [box.x, box.y, box.width, box.height]", self.one("#stage")
        )
        return box[0] + x * box[2], box[1] + y * box[3]

    def drag(self, points):
        """With the mouse, over shares of the picture."""
        self.run("arguments[0].scrollIntoView({block: 'center'})", self.one("#stage"))
        for number, point in enumerate(points):
            x, y = self.place(*point)
            kinds = (["mousePressed"] if not number else []) + ["mouseMoved"] + (["mouseReleased"] if point is points[-1] else [])
            for kind in kinds:
                self.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def swipe(self, points):
        """With a finger, over shares of the stage."""
        self.cdp(
            "Input.dispatchTouchEvent", type="touchStart", touchPoints=[dict(zip("xy", self.place(*points[0]), strict=True))]
        )
        for point in points[1:]:
            self.cdp("Input.dispatchTouchEvent", type="touchMove", touchPoints=[dict(zip("xy", self.place(*point), strict=True))])
        self.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def come_to_rest(self):
        """The page goes on scrolling for a while when a finger has left it."""
        self.driver.execute_async_script("""
            const done = arguments[0];
            let [before, still] = [scrollY, 0];
            requestAnimationFrame(function look() {
              still = scrollY === before ? still + 1 : 0;
              before = scrollY;
              still < 30 ? requestAnimationFrame(look) : done();
            });
        """)

    def requests(self):
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self._requests.append(message["params"]["request"]["url"])
        return self._requests

    def close(self, unreachable=False):
        """Ends the browser; nothing may have gone wrong in it unseen, and nothing may have been asked for elsewhere."""
        errors = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        requests = self.requests()
        self.driver.quit()
        assert not [error for error in errors if not (unreachable and "net::ERR" in error)]
        assert requests and all(url.startswith((self.address, "data:", "blob:")) for url in requests), requests


def choose_tiny(page, tiny_folder):
    page.set("prior", tiny_folder)
    page.set("num_steps", 3)
    page.set("langevin_steps", 3)


def noise(tmp_path, seed, size=(8, 8)):
    path = tmp_path / f"{seed}.png"
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path
