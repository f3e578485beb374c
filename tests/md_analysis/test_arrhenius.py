"""Arrhenius fits of points with known activation energy."""

from dataclasses import replace

import numpy as np
import pytest

from ionsieve.errors import InputError
from ionsieve.md_analysis import plots
from ionsieve.md_analysis.arrhenius import BOLTZMANN_EV_K, ArrheniusPoint, fit_arrhenius

ENERGY, PREFACTOR, ERROR = 0.25, 1e-3, 0.12


def law(temperature_k, energy=ENERGY):
    return PREFACTOR * np.exp(-energy / (BOLTZMANN_EV_K * temperature_k))


def point(temperature_k, value, bound=False, error=ERROR):
    low, high = (
        (0.0, value) if bound else (value * np.exp(-1.96 * error), value * np.exp(1.96 * error))
    )
    return ArrheniusPoint(
        temperature_k,
        0.0 if bound else value,
        (low, high),
        bound,
        sigma_ne_ci95_s_cm=(low * 2e5 / temperature_k, high * 2e5 / temperature_k),
    )


def noisy(seed, temperatures=(500, 600, 700, 800)):
    rng = np.random.default_rng(seed)
    return [point(t, law(t) * np.exp(rng.normal(0, ERROR))) for t in temperatures]


def test_exact_points_give_the_law_back():
    fit = fit_arrhenius([point(t, law(t)) for t in (500, 700, 900)])
    assert fit.activation_energy_ev == pytest.approx(ENERGY, abs=1e-3)
    assert fit.prefactor_cm2_s == pytest.approx(PREFACTOR, rel=0.03)
    assert fit.diffusivity_300k_cm2_s == pytest.approx(law(300), rel=0.02)
    assert fit.sigma_300k_s_cm == pytest.approx(law(300) * 2e5 / 300, rel=0.02)
    assert fit.is_extrapolated
    assert fit.bend_temperature_k is None


def test_intervals_hold_as_often_as_they_say():
    """95 % of 60 is 57; fewer than 52 has a chance below 1 in 100."""
    energy = room = 0
    for seed in range(60):
        fit = fit_arrhenius(noisy(seed))
        energy += fit.activation_energy_ci95_ev[0] <= ENERGY <= fit.activation_energy_ci95_ev[1]
        low, high = fit.diffusivity_300k_ci95_cm2_s
        room += low <= law(300) <= high
    assert energy >= 52
    assert room >= 52


def test_an_upper_bound_pushes_the_line_down_and_never_up():
    points = noisy(0)
    free = fit_arrhenius(points)
    tight = fit_arrhenius([*points, point(350, 0.3 * free.diffusivity_300k_cm2_s, bound=True)])
    loose = fit_arrhenius([*points, point(350, 1e-3, bound=True)])
    assert tight.diffusivity_300k_cm2_s < 0.8 * free.diffusivity_300k_cm2_s
    assert loose.diffusivity_300k_cm2_s == pytest.approx(free.diffusivity_300k_cm2_s, rel=0.02)


def test_asymmetric_errors_are_used():
    base = [point(t, law(t), error=0.02) for t in (600, 800)]
    value = law(500) * 1.5
    down = ArrheniusPoint(500, value, (value * 0.3, value * 1.02))
    up = ArrheniusPoint(500, value, (value * 0.98, value * 3))
    assert (
        fit_arrhenius([*base, down]).activation_energy_ev
        > fit_arrhenius([*base, up]).activation_energy_ev + 0.005
    )


def test_a_change_of_mechanism_is_seen():
    temperatures = (500, 600, 700, 800, 900, 1000)
    kink = [
        law(t) if t <= 700 else law(700) * np.exp(-0.8 / BOLTZMANN_EV_K * (1 / t - 1 / 700))
        for t in temperatures
    ]
    fit = fit_arrhenius([point(t, d, error=0.05) for t, d in zip(temperatures, kink, strict=True)])
    assert 600 < fit.bend_temperature_k < 800
    assert fit.straight_line_p < 0.01
    straight = fit_arrhenius([point(t, law(t), error=0.05) for t in temperatures])
    assert straight.bend_temperature_k is None
    assert straight.straight_line_p > 0.5


def test_room_temperature_inside_the_range_is_no_extrapolation():
    assert not fit_arrhenius([point(t, law(t)) for t in (300, 400, 500)]).is_extrapolated


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "0 temperatures"),
        ([point(500, 1e-5)], "1 temperatures"),
        ([point(500, 1e-5), point(600, 1e-5, bound=True)], "1 temperatures"),
        ([point(500, 1e-5), ArrheniusPoint(600, -1e-6, (0.0, 1e-6))], "at 600 K"),
    ],
)
def test_too_little_to_fit_is_named(points, message):
    with pytest.raises(InputError, match=message):
        fit_arrhenius(points)


def flagged(points):
    fit = fit_arrhenius(points)
    text = " ".join(fit.warnings)
    title = plots.plot_arrhenius(fit).get_title()
    assert title.count("!") == len(fit.warnings)
    low, high = fit.diffusivity_300k_ci95_cm2_s
    assert f"({low:.1e} to {high:.1e})" in title
    return text


def test_a_sound_line_is_not_flagged():
    points = [point(t, law(t), error=0.03) for t in (350, 450, 550, 700)]
    assert (
        flagged([replace(p, composition="Na12 S12", volume_angstrom3=900.0) for p in points]) == ""
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({1: {"composition": "Na24 S24"}}, "cells of different size"),
        ({1: {"composition": "Li12 S12"}}, "different materials"),
        ({1: {"composition": "Na12 S11"}}, "different materials"),
        ({1: {"volume_angstrom3": 1300.0}}, "differ in volume by 44%"),
    ],
)
def test_points_that_do_not_belong_together_are_flagged(change, words):
    points = [point(t, law(t), error=0.03) for t in (350, 450, 550, 700)]
    points = [
        replace(p, **({"composition": "Na12 S12", "volume_angstrom3": 900.0} | change.get(i, {})))
        for i, p in enumerate(points)
    ]
    assert words in flagged(points)


def test_senseless_energies_and_long_extrapolations_are_flagged():
    falling = [point(t, 1e-5 / t, error=0.02) for t in (500, 700, 900)]
    assert "negative" in flagged(falling)
    flat = [point(t, law(t, 0.02), error=0.02) for t in (500, 700, 900)]
    assert "tiny" in flagged(flat)
    far = flagged([point(t, law(t, 0.4), error=0.02) for t in (700, 900, 1100)])
    assert "extrapolated over 3." in far
    two = flagged([point(t, law(t), error=0.3) for t in (700, 800)])
    assert "two temperatures" in two
    assert "decades" in two
    assert "may be zero" in two


def test_the_picture_shows_points_bounds_and_band():
    axes = plots.plot_arrhenius(fit_arrhenius([*noisy(0), point(350, 1e-5, bound=True)]))
    assert axes.get_yscale() == "log"
    assert len(axes.containers) == 5
