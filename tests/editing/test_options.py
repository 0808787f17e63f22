"""What is told of an option's range is what is checked."""

import math
import re

import numpy as np
import pytest

import code_jax
from code_jax.editing.options import OPTIONS, read_options
from code_jax.editing.presets import PRESETS

NUMBERS = [option for option in OPTIONS.values() if option.holds is not None and option.name != "dynamic_threshold"]


def allowed(option, value):
    try:
        option.check(value)
    except code_jax.UserError as error:
        assert f"{option.name} is " in str(error) and str(error).endswith(f"; it must be {option.wanted}")
        return False
    return True


@pytest.mark.parametrize("option", NUMBERS, ids=lambda option: option.name)
def test_the_range_that_a_message_names_is_the_one_that_is_checked(option):
    if option.whole:
        low, high = map(int, re.fullmatch(r"a whole number from (\d+) to (\d+)", option.wanted).groups())
        assert [allowed(option, value) for value in (low - 1, low, high, high + 1)] == [False, True, True, False]
        assert not any(allowed(option, value) for value in (1.5, True, "3", None))
        return
    first, low, high, last, none = re.fullmatch(r"in ([\[(])(\S+), (\S+)([\])])(, or none)?", option.wanted).groups()
    low, high = float(low), float(high)
    assert allowed(option, low) == (first == "[") and allowed(option, high) == (last == "]")
    assert allowed(option, np.nextafter(low, high)) and allowed(option, np.nextafter(high, low))
    outside = (np.nextafter(low, -math.inf), np.nextafter(high, math.inf), -math.inf, math.nan, 10**400, "x")
    assert not any(allowed(option, value) for value in outside)
    assert allowed(option, math.inf) == bool(none)


def test_a_threshold_is_a_quantile_and_a_bound_that_float32_holds():
    option = OPTIONS["dynamic_threshold"]
    assert allowed(option, (0.98, 1.3)) and allowed(option, None) and allowed(option, (1, 1))
    for value in ((0, 1.3), (1.1, 1.3), (0.9, 0.9), (0.9, math.inf), (0.9, math.nan), (0.9,), 0.9, ((1, 2), (3, 4), (5, 6))):
        assert not allowed(option, value), value


def test_text_that_is_no_value_is_named_with_its_option():
    assert read_options({"sigma": "1,0.5", "eta": "none", "noise": ""}, ("sigma", "eta", "noise")) == {
        "sigma": [1, 0.5],
        "eta": math.inf,
    }
    with pytest.raises(code_jax.UserError, match=r"^sigma: 'x' is not a number$"):
        read_options({"sigma": "1,x"}, ("sigma",))


def test_every_preset_can_be_asked_for():
    assert OPTIONS["preset"].kinds == tuple(PRESETS)
