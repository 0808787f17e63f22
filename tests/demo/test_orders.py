"""What a page's form is made into: the same as the command line's, and streams that compile nothing twice."""

import base64
import io
import json
import shlex

import jax
import numpy as np
import pytest
from PIL import Image

import code_jax.demo.way
from code_jax.cli.main import main
from code_jax.demo.events import KINDS, data_url, restore_events, sweep_events
from code_jax.demo.offers import options_of
from code_jax.demo.order import Offer, Pace, python_of
from code_jax.demo.request import read_order
from code_jax.demo.way import frames, itinerary
from code_jax.editing import methods
from code_jax.editing.options import read_options
from code_jax.editing.settings import to_plain
from code_jax.errors import UserError
from code_jax.metrics import diversity, psnr
from code_jax.pictures.arrays import from_uint8
from code_jax.pictures.provenance import read_facts
from code_jax.priors.hash import prior_hash
from code_jax.priors.load import load_prior

NOISE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
FAST = {"ode-steps": "2", "langevin-steps": "2", "seed": "5"}

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def offers(tiny_folder):
    prior = load_prior(tiny_folder)
    return {tiny_folder: Offer(tiny_folder, prior, prior_hash(prior), "float32", Pace())}


@pytest.fixture
def form(tiny_folder):
    return FAST | {"prior": tiny_folder, "picture": data_url(NOISE), "sigma": "1.1", "relative-step": "0.04", "eta": "1.7"}


def pixels_of(url):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def result_of(events):
    return [event for event in events if event and event["event"] == "result"][-1]


@pytest.mark.parametrize(
    ("fit", "masked", "samples"),
    [
        ("resize", False, 1),
        ("resize", True, 2),
        ("tile", False, 1),
        ("tile", True, 1),
        ("pyramid", False, 1),
        ("pyramid", True, 1),
    ],
)
def test_the_page_the_command_line_and_the_python_call_give_the_same_bytes(offers, form, tmp_path, fit, masked, samples):
    picture = NOISE if fit == "resize" else np.random.default_rng(1).integers(0, 256, (11, 19, 3), np.uint8)
    mask = np.zeros(picture.shape, np.uint8)
    mask[2:6, 2:6] = 255
    form |= {"mask": data_url(mask)} if masked else {}
    form |= {"picture": data_url(picture), "fit": fit}
    order = read_order(form | {"samples": str(samples)}, offers)
    result = result_of(restore_events(order))
    assert result["sample"] == samples - 1
    (tmp_path / "result.png").write_bytes(base64.b64decode(result["picture"].partition(",")[2]))

    Image.fromarray(picture).save(tmp_path / "input.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    named = {"INPUT": str(tmp_path / "input.png"), "MASK": str(tmp_path / "mask.png"), "DIR": str(tmp_path / "out")}
    assert main([named.get(word, word) for word in shlex.split(result["command"])[1:]]) == 0
    restored = tmp_path / "out" / ("input.png" if samples == 1 else f"input_{samples}.png")
    assert restored.read_bytes() == (tmp_path / "result.png").read_bytes()
    assert read_facts(restored)["settings"]["eta"] == 1.7

    names = {"INPUT": named["INPUT"], "MASK": named["MASK"]}
    exec(result["python"].replace('"result.png"', repr(str(tmp_path / "python.png"))), names)
    np.testing.assert_array_equal(pixels_of(result["picture"]), np.asarray(Image.open(tmp_path / "python.png")))
    assert result["python"] == python_of(order._replace(sample=samples - 1))
    if masked:
        np.testing.assert_array_equal(pixels_of(result["picture"])[mask == 0], picture[mask == 0])


def test_sliders_and_sweeps_compile_nothing_anew(offers, form, caplog):
    list(restore_events(read_order(form, offers)))
    list(sweep_events(read_order(form, offers), [0.2], [0.05]))
    moved = form | {"sigma": "6.5", "relative-step": "0.003", "eta": "none", "seed": "8"}
    moved["picture"] = data_url(NOISE[::-1])
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        other = result_of(restore_events(read_order(moved, offers)))
        list(sweep_events(read_order(moved, offers), [0.5, 0.15], [0.01, 0.2]))
    assert "Compiling" not in caplog.text
    assert "--sigma 6.5" in other["command"] and "--eta none" in other["command"]
    with jax.log_compiles(True), caplog.at_level("DEBUG", logger="jax"):
        list(restore_events(read_order(form | {"langevin-steps": "3"}, offers)))
    assert "Compiling" in caplog.text  # the log would have told


def test_a_cell_of_a_sweep_is_the_result_of_its_settings(offers, form):
    events = list(sweep_events(read_order(form, offers), [0.2, 0.6], [0.01, 0.1]))
    cells = {(event["row"], event["column"]): event for event in events if event["event"] == "result"}
    assert set(cells) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    taken = result_of(restore_events(read_order(form | {"sigma": "0.6", "relative-step": "0.01"}, offers)))
    assert cells[1, 0]["picture"] == taken["picture"] and cells[1, 0]["command"] == taken["command"]
    done = [event["done"] for event in events if event["event"] == "progress"]
    assert done == sorted(done) and done[-1] == 4 * 7


def test_the_strip_shows_each_stage_from_the_input_to_the_result(offers, form):
    order = read_order(form | {"ode-steps": "8", "langevin-steps": "6"}, offers)
    events = [event for event in restore_events(order) if event["event"] in ("latent", "result")]
    *strip, result = events
    stages = [event["stage"] for event in strip]
    assert list(dict.fromkeys(stages)) == ["encoding", "correction", "decoding"] and stages == sorted(
        stages, key=["encoding", "correction", "decoding"].index
    )
    sigmas, moves, evaluations = itinerary(order.offer.prior, order.config)
    assert evaluations.tolist() == list(range(8 + 6 + 8 + 1 + 1))
    assert len(moves) == 8 + 6 + 8 + 1 and set(frames(moves)) >= {0, 8, 14, 23}
    assert max(event["sigma"] for event in strip) == pytest.approx(1.1)
    assert sigmas[0] == pytest.approx(0.01, rel=1e-2) and strip[-1]["sigma"] == 0
    assert psnr(from_uint8(pixels_of(strip[0]["picture"])[None]), from_uint8(NOISE[None]))[0] > 35  # the input with 0.01 of noise
    np.testing.assert_array_equal(pixels_of(strip[-1]["picture"]), pixels_of(result["picture"]))


def test_samples_differ_and_their_diversity_is_that_of_their_pictures(offers, form):
    *events, last = restore_events(read_order(form | {"samples": "3"}, offers))
    results = [from_uint8(pixels_of(event["picture"])[None]) for event in events if event["event"] == "result"]
    assert (
        last["event"] == "diversity"
        and last["value"] == pytest.approx(float(diversity(np.stack(results))[0]))
        and last["value"] > 0
    )
    fidelities = [event["facts"]["fidelity: PSNR to the input"] for event in events if event["event"] == "result"]
    assert fidelities == [f"{float(psnr(result, from_uint8(NOISE[None]))[0]):.2f} dB" for result in results]
    first = result_of(restore_events(read_order(form, offers)))
    np.testing.assert_array_equal(from_uint8(pixels_of(first["picture"])[None]), results[0])
    progress = [event for event in events if event["event"] == "progress"]
    done = [event["done"] for event in progress]
    assert done == sorted(done) and done[-1] == progress[0]["of"] and progress[-1]["seconds_left"] == 0


def test_an_order_that_is_closed_leaves_the_device_to_the_next(offers, form):
    events = restore_events(read_order(form, offers))
    for _ in range(3):
        next(events)
    events.close()
    assert result_of(restore_events(read_order(form, offers)))


def test_a_prior_with_classes_takes_a_label_and_its_commands_tell_it(form, request, tmp_path):
    name = str(request.config.rootpath / "tests/checkpoints_convert/edm.pkl")
    prior = load_prior(name)
    offers = {name: Offer(name, prior, prior_hash(prior), "float32", Pace())}
    assert options_of(offers)["labels"] == {name: {"most": 4, "optional": False}}
    form |= {"prior": name, "sigma": "0.7", "label": "3"}
    result = result_of(restore_events(read_order(form, offers)))
    Image.fromarray(NOISE).save(tmp_path / "input.png")
    named = {"INPUT": str(tmp_path / "input.png"), "DIR": str(tmp_path / "out")}
    assert main([named.get(word, word) for word in shlex.split(result["command"])[1:]]) == 0
    np.testing.assert_array_equal(pixels_of(result["picture"]), np.asarray(Image.open(tmp_path / "out" / "input.png")))
    exec(result["python"].replace('"result.png"', repr(str(tmp_path / "python.png"))), dict(named))
    np.testing.assert_array_equal(pixels_of(result["picture"]), np.asarray(Image.open(tmp_path / "python.png")))
    assert result_of(restore_events(read_order(form | {"label": "2"}, offers)))["picture"] != result["picture"]
    for label, error in (("", "give a label from 0 to 4"), ("5", "label 5 is none of the prior's"), ("x", "label: 'x'")):
        with pytest.raises(UserError, match=error):
            read_order(form | {"label": label}, offers)
    with pytest.raises(UserError, match="knows no picture without a class; leave guidance out"):
        read_order(form | {"guidance": "2"}, offers)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"label": "3"}, "this prior has no classes"),
        ({"prior": "/etc"}, "'/etc' is not offered"),
        ({"sigma": "", "depth": "2"}, r"depth is \[2.0\]"),
        ({"depth": "0.5"}, "sigma and depth are both given"),
        ({"sigma": "deep"}, "'deep'"),
        ({"fit": "tile", "method": "smooth"}, "method 'smooth'"),
        ({"fit": "squash"}, "fit 'squash'"),
        ({"picture": None, "size": [0, 8]}, r"size is \[0, 8\]"),
        ({"picture": None, "size": [True, True]}, r"size is \[True, True\]"),
        ({"picture": None, "size": [10_000, 10_000]}, "50 million"),
        ({"method": "official", "ode-steps": "", "langevin-steps": "", "mask": "data:,"}, "official takes no mask"),
        ({"relative-step": "-1"}, r"relative_step is \[-1.0\]"),
        ({"eta": "0"}, "eta is 0.0"),
        ({"seed": "-1"}, "seed is -1"),
        ({"samples": "17"}, "samples is 17"),
        ({"samples": "0"}, "samples is 0"),
        ({"ode-steps": "0"}, "num_steps is 0"),
        ({"preset": "heavy"}, "heavy"),
        ({"picture": "data:image/png;base64,bm8gcGljdHVyZQ=="}, "the picture cannot be read: not a picture"),
        ({"picture": "data:,%"}, "the picture is no picture"),
        ({"picture": "data:,é"}, "the picture is no picture"),
        ({"picture": "", "sample": "../../load.py"}, "no picture"),
        ({"picture": "", "sample": ["a", {}]}, "no picture"),
        ({"mask": "data:image/png;base64,bm8gcGljdHVyZQ=="}, "the mask cannot be read: not a picture"),
        ({"mask": data_url(np.zeros((8, 8, 3), np.uint8))}, "the mask cannot be read: it is black and marks nothing"),
        ({"corruption": "no-such-corruption"}, "corruption"),
    ],
)
def test_what_cannot_be_is_named(offers, form, changes, named):
    with pytest.raises(UserError, match=named):
        read_order(form | changes, offers)


def test_a_cut_picture_and_a_bomb_are_named(offers, form):
    half = base64.b64decode(data_url(NOISE).partition(",")[2])[:120]
    with pytest.raises(UserError, match="the picture"):
        read_order(form | {"picture": "data:," + base64.b64encode(half).decode()}, offers)
    file = io.BytesIO()
    Image.new("1", (8000, 8000)).save(file, "PNG")
    with pytest.raises(UserError, match="64 million pixels"):
        read_order(form | {"picture": "data:," + base64.b64encode(file.getvalue()).decode()}, offers)


def test_a_grid_has_bounds_and_a_result_that_is_not_finite_is_named(offers, form):
    with pytest.raises(UserError, match="0 cells"):
        list(sweep_events(read_order(form, offers), [], [0.1]))
    with pytest.raises(UserError, match="1000000000000 cells"):  # counted before any is made
        list(sweep_events(read_order(form, offers), [0.5] * 10**6, [0.1] * 10**6))
    with pytest.raises(UserError, match="sigma is"):
        list(sweep_events(read_order(form, offers), [0.5, 1e4], [0.1]))


def test_what_a_person_is_told_before_starting(offers, form, monkeypatch):
    """The cost is what the run will count, a window each; warnings are the command line's; the size is the picture's own."""
    monkeypatch.setattr(code_jax.demo.way, "_programs", set())
    offers = {name: offer._replace(pace=Pace()) for name, offer in offers.items()}  # of which nothing is known yet
    form = {**form, "picture": None, "size": [20, 30], "fit": "tile", "samples": "2", "relative-step": "3"}
    before, *_, after = filter(None, KINDS["cost"](form, offers))
    assert before["evaluations"] == 2 * (2 + 2 + 2 + 1) and before["windows"] == 4 * 7 and before["size"] == (20, 30)
    assert len(before["warnings"]) == 1 and "beyond the limit" in before["warnings"][0]
    pace = offers[form["prior"]].pace
    assert after["seconds"] == pytest.approx(14 * 28 * pace.seconds + pace.preparing) and pace.preparing > 0
    assert [event["seconds"] for event in KINDS["cost"](form, offers) if event] == [after["seconds"]]
    picture = {"picture": data_url(np.zeros((20, 30, 3), np.uint8))}
    list(KINDS["restore"](form | picture, offers))  # whose program is there from now on
    (told,) = filter(None, KINDS["cost"](form, offers))
    assert told["seconds"] == pytest.approx(14 * 28 * pace.seconds)


def test_compiled_programs_are_bounded(offers, form, monkeypatch):
    monkeypatch.setattr(code_jax.demo.way, "_MOST_PROGRAMS", 2)
    monkeypatch.setattr(code_jax.demo.way, "_programs", set())
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(True))
    for steps in ("2", "3", "2", "4", "2"):
        code_jax.demo.way._bound_programs(jax.tree.structure(read_order(form | {"ode-steps": steps}, offers).config))
    assert len(cleared) == 1 and len(code_jax.demo.way._programs) <= 2


def test_what_is_offered_comes_from_the_methods_themselves(offers):
    told = json.loads(json.dumps(options_of(offers)))
    for name, offered in told["methods"].items():
        method = methods.find(name)
        assert set(offered["controls"]) <= set(method.options) & set(told["controls"])
        for preset, values in offered["presets"].items():
            chosen = {"preset": preset} if preset else {}
            texts = {key: ",".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in values.items()}
            given = read_options(texts, offered["controls"]) | chosen
            assert to_plain(method.configure(given)) == to_plain(method.configure(chosen))
