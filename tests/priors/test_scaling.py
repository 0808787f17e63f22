import numpy as np
import pytest

import code_jax
from code_jax.priors.scaling import read_scaling


@pytest.mark.parametrize(
    ("config", "bounds"),
    [
        ({"beta_schedule": "linear"}, (0.01, 157.4)),
        ({"_class_name": "ScoreSdeVeScheduler", "sigma_min": 0.01, "sigma_max": 1348}, (0.02, 2696)),
        ({"_class_name": "ScoreSdeVpScheduler"}, (0.0105, 152.2)),
        ({"_class_name": "ScoreSdeSubVpScheduler"}, (0.00011, 152.2)),
        ({"_class_name": "VPPrecond"}, (1e-3, 152.2)),
        ({"_class_name": "VEPrecond"}, (0.02, 100)),
        ({"_class_name": "EDMPrecond", "sigma_min": 0, "sigma_max": float("inf"), "sigma_data": 0.5}, (0.002, 80)),
        ({"_class_name": "Precond"}, (0.002, 80)),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, (0.001001, 999)),
    ],
)
def test_published_ranges_are_read(config, bounds):
    assert tuple(map(float, read_scaling(config).sigma_range)) == pytest.approx(bounds, rel=2e-2)


def test_iddpm_noise_levels_are_the_cosine_schedule():
    """The recursion of EDM's table 1 (iDDPM): u_M = 0, u_{j−1}² = (u_j² + 1)/max(ᾱ_{j−1}/ᾱ_j, C_1) − 1."""
    steps, levels = 1000, [0.0]
    alpha = np.sin(0.5 * np.pi * np.arange(steps + 1) / steps / 1.008) ** 2
    for j in range(steps, 0, -1):
        levels.append(np.sqrt((levels[-1] ** 2 + 1) / max(alpha[j - 1] / alpha[j], 0.001) - 1))
    schedule = read_scaling({"_class_name": "iDDPMPrecond"}).schedule
    np.testing.assert_allclose(schedule.sigma(np.arange(steps)), levels[1:], rtol=2e-4)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"_class_name": "iDDPMPrecond", "C_2": 0.1}, "C_2 0.1"),
        ({"_class_name": "EDMPrecond", "sigma_data": float("nan")}, "sigma_data"),
        ({"_class_name": "EDMPrecond", "sigma_min": 90}, "leave no noise levels"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": True}, "use_dynamic_shifting True"),
        ({"_class_name": "ScoreSdeVeScheduler", "sigma_max": "high"}, "sigma_max is 'high'"),
        ({"_class_name": "DDPMScheduler", "prediction_type": "flow"}, "'flow'"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(config, named):
    with pytest.raises(code_jax.UserError, match=named):
        read_scaling(config)
