"""The page for everybody: at any size, by keys alone, by a finger, and as axe sees it."""

import pytest

from tests.demo.browser import ESCAPE, LEFT, NARROW, PHONE, RIGHT, SPACE, TAB, WIDE

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", [WIDE, PHONE, NARROW])
def test_nothing_runs_over_the_edge_and_restore_stays_within_reach(ready, size):
    ready.resize(*size)
    ready.press("four")
    for details in ready.all("details"):
        ready.run("arguments[0].open = true", details)
    ready.press("sweep")
    assert ready.run("return document.documentElement.scrollWidth") <= size[0]
    for place in ("0", "document.body.scrollHeight / 2", "document.body.scrollHeight"):
        ready.run(f"scrollTo(0, {place})")
        box = ready.run("return document.querySelector('#restore').getBoundingClientRect().toJSON()")
        assert size[1] * 0.8 < box["top"] and box["bottom"] <= size[1] and box["height"] >= 30
    small = """return [...document.querySelectorAll("button, a, select, input:not([type=radio])")]
        .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 24).map((each) => each.id)"""
    assert set(ready.run(small)) <= {"download-input", "download-mask"}  # links in a line of text


def test_every_control_is_reached_and_left_by_keys_with_its_focus_in_sight(ready):
    ready.press("four")
    for details in ready.all("details"):
        ready.run("arguments[0].open = true", details)
    reachable = """return [...document.querySelectorAll("button, input, select, a[href], summary, [tabindex]")]
        .filter((each) => each.checkVisibility() && !each.disabled && (each.type !== "radio" || each.checked)).length"""
    ready.run("document.activeElement.blur(); window.seen = new Set()")
    focus = """const at = document.activeElement;
        if (at === document.body || seen.has(at)) return [seen.size, true];
        seen.add(at);
        const shown = at.closest(".file, .chip") ?? at;
        return [seen.size, getComputedStyle(shown).outlineStyle === "solid"
            || at.matches("input[type=color], input[type=range], input[type=number]") && at.matches(":focus-visible")];"""
    count, before = 0, -1
    while count != before:
        before = count
        ready.keys(TAB)
        count, visible = ready.run(focus)
        assert visible, ready.focused
    assert count == ready.run(reachable)
    unnamed = """return [...document.querySelectorAll("button, input, select, a, [tabindex], canvas:not([aria-hidden])")]
        .filter((each) => !(each.labels?.length || each.ariaLabel || each.textContent.trim() || each.title))
        .map((each) => each.outerHTML)"""
    assert ready.run(unnamed) == []


def test_the_page_is_worked_by_keys(ready):
    ready.one("#restore").send_keys("\n")
    ready.ends()
    assert ready.focused == "restore"
    ready.one("#compare-slider").send_keys(RIGHT * 3)
    assert ready.value("compare-slider") == "53"
    ready.one("#compare-slider").send_keys(LEFT)
    assert ready.value("compare-slider") == "52"
    ready.one("#enlarge").send_keys("\n")
    assert ready.run("return document.querySelector('#large').open") and ready.focused == "stage"
    ready.keys("+")
    ready.keys(ESCAPE)
    ready.wait(lambda: not ready.run("return document.querySelector('#large').open"))
    ready.wait(lambda: ready.focused == "enlarge")  # the event of closing comes after it
    assert ready.focused == "enlarge" and ready.seen("stage")
    ready.run("document.querySelector('[value=mask]').focus()")
    ready.keys(SPACE)
    ready.set("brush", 3)
    ready.one("#stage").send_keys(LEFT, SPACE)
    assert "Only what is masked will change" in ready.text("mask-state")
    ready.keys(ESCAPE)
    assert ready.run("return document.querySelector('[name=tool]:checked').value") == "look"
    ready.run("arguments[0].focus()", ready.one("#restore"))
    ready.set("sigma", -1)
    ready.wait(lambda: ready.seen("message"))
    ready.keys(ESCAPE)
    assert not ready.seen("message")


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_to_object_to(ready, dark):
    from axe_core_python.selenium import Axe

    ready.colours(dark)
    ready.run("document.querySelector('[value=stroke]').click()")
    for moment in ("painting", "after a sweep", "four to pick from", "a message"):
        if moment == "after a sweep":
            ready.press("sweep")
        if moment == "four to pick from":
            ready.press("four")
            for details in ready.all("details"):
                ready.run("arguments[0].open = true", details)
        if moment == "a message":
            ready.set("sigma", -1)
            ready.wait(lambda: ready.seen("message"))
        found = Axe().run(ready.driver)["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == [], moment


def test_what_is_chosen_is_seen_where_the_system_chooses_the_colours(ready):
    ready.press("four")
    ready.colours(dark=False, forced=True)
    outlined = "return getComputedStyle(document.querySelector(arguments[0])).outlineStyle"
    for chosen, other in [
        (".chip:has(:checked)", ".chip:not(:has(:checked))"),
        ("#picks [aria-pressed=true]", "#picks [aria-pressed=false]"),
    ]:
        assert (ready.run(outlined, chosen), ready.run(outlined, other)) == ("solid", "none")


def test_a_finger_scrolls_while_looking_and_paints_while_painting(ready):
    ready.resize(*PHONE)
    ready.run("document.querySelector('#stage').scrollIntoView({block: 'center'})")
    offset = lambda: ready.run("return scrollY")  # noqa: E731
    down = [(0.5, 0.8 - 0.05 * k) for k in range(10)]
    before = offset()
    ready.swipe(down)
    ready.wait(lambda: offset() > before + 50)
    ready.come_to_rest()
    ready.run(
        "document.querySelector('[value=mask]').click(); document.querySelector('#stage').scrollIntoView({block: 'center'})"
    )
    before = offset()
    ready.swipe(down)
    ready.wait(lambda: ready.text("mask-state"))
    assert offset() == before
    assert ready.seen("drop") and ready.one("#camera").get_attribute("capture") == "environment"
