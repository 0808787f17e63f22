"""What a person takes away from the page, and brings back: results, an archive of them, a file of settings."""

import io
import json
import zipfile

import pytest

from code_jax.pictures.provenance import read_facts

pytestmark = pytest.mark.browser


def test_all_results_are_saved_in_one_archive_each_with_its_settings(ready):
    ready.press()
    assert not ready.seen("save-all")
    single = ready.saved("#download")
    ready.set("sigma", 0.9)
    ready.press()
    ready.press("four")
    assert ready.text("save-all") == "Save all 6"
    with zipfile.ZipFile(ready.saved("#save-all")) as files:
        assert files.testzip() is None
        assert files.namelist() == ["0_restored.png", "0_restored (2).png", *(f"0_restored_{k}.png" for k in (1, 2, 3, 4))]
        assert files.read("0_restored.png") == single.read_bytes()
        facts = [read_facts(io.BytesIO(files.read(name))) for name in files.namelist()]
    assert [(each["settings"]["sigma"], each["sample"]) for each in facts] == [(0.72, 0), *((0.9, k) for k in (0, 0, 1, 2, 3))]


def test_a_result_is_shared_where_the_browser_can(ready):
    ready.press()
    assert not ready.seen("share")  # headless Chromium cannot
    ready.run("navigator.canShare = () => true; navigator.share = async ({ files }) => (window.shared = files)")
    ready.press()
    ready.click("#share")
    script = "const done = arguments[0]; shared[0].arrayBuffer().then((bytes) => done([...new Uint8Array(bytes)]))"
    assert bytes(ready.driver.execute_async_script(script)) == ready.saved("#download").read_bytes()
    assert ready.run("return [shared.length, shared[0].name, shared[0].type]") == [1, "0_restored.png", "image/png"]


def test_settings_are_saved_and_loaded(ready, tmp_path):
    ready.set("sigma", 0.41)
    ready.set("eta", "")
    ready.set("seed", 9)
    file = ready.saved("#save-settings")
    settings = json.loads(file.read_text())["settings"]
    assert settings["sigma"] == "0.41" and settings["eta"] == "none" and settings["seed"] == "9"
    ready.set("preset", "global")
    assert ready.value("eta") == "1.5" and ready.value("sigma") == "1.24"
    ready.one("#load-settings").send_keys(str(file))
    ready.wait(lambda: ready.value("sigma") == "0.41")
    assert (ready.value("eta"), ready.value("preset")) == ("", "default")
    ready.click("#undo")
    assert ready.value("sigma") == "1.24"
    for text, said in [("{", "it is no file of settings"), ('{"settings": {"a": 1}}', "unknown setting a"), ("[]", "no settings"),
                       ('{"settings": {"prior": "x"}}', "its prior x is not offered here")]:  # fmt: skip
        (tmp_path / "wrong.json").write_text(text)
        ready.one("#load-settings").send_keys(str(tmp_path / "wrong.json"))
        ready.wait(lambda said=said: said in ready.text("message-text"))
    assert ready.value("sigma") == "1.24"
