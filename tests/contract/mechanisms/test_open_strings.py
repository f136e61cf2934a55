"""Open strings through hashed cells: a dictionary's figures, collisions, and the floor of what it does not list."""

import numpy as np
import pytest

from discreet_contract.mechanisms.open_strings import CELLS, cell_of, estimate_dictionary, open_mechanism

SALT = "crash-signature"


def pair_of_one_cell():
    seen = {}
    for number in range(10_000):
        word = f"word {number}"
        other = seen.setdefault(cell_of(word, SALT), word)
        if other != word:
            return other, word
    raise AssertionError


def sums_of(mechanism, words, rng):
    """Sums of honest reports, drawn from the mechanism's odds; OpenDP's own draws would take a minute."""
    q, p = mechanism.field, mechanism.truth
    directions = rng.integers(0, mechanism.directions, len(words))
    cells = [cell_of(word, SALT) for word in words]
    hashes = np.array([mechanism.hash_value(int(s), cell) for s, cell in zip(directions, cells, strict=True)])
    lie = (hashes + rng.integers(1, q, len(words))) % q
    return mechanism.accumulate(directions * q + np.where(rng.random(len(words)) < p, hashes, lie)).tolist()


def test_a_cell_is_pinned():
    """Device and reader agree on it for ever; another salt gives another one."""
    assert cell_of("SIGSEGV in render", SALT) == 64_510
    assert cell_of("", "") == 23_097
    assert cell_of("SIGSEGV in render", "other") != cell_of("SIGSEGV in render", SALT)
    assert cell_of("b", "a") != cell_of("ab", "")
    assert all(0 <= cell_of(str(n), SALT) < CELLS for n in range(1000))


def test_a_dictionary_is_estimated_and_collisions_are_merged():
    """Listed words, two of them in one cell, and a tail of strings that nobody listed; seeded, five standard errors."""
    mechanism = open_mechanism(4.0)
    rng = np.random.default_rng(5)
    one, other = pair_of_one_cell()
    words = ["common"] * 6000 + [one] * 1500 + [other] * 500 + [f"tail {n}" for n in range(12_000)]
    result = estimate_dictionary(
        mechanism, sums_of(mechanism, words, rng), ["common", one, other, "absent", one], SALT, 0.95
    )
    figures = {figure.words: figure for figure in result.figures}

    assert list(figures) == [("common",), (one, other), ("absent",)]
    for group, share in {("common",): 0.3, (one, other): 0.1, ("absent",): 0.0}.items():
        figure = figures[group]
        assert abs(figure.estimate - share) < 5 * figure.variance**0.5
        assert figure.interval.low < figure.estimate < figure.interval.high
    error = sum(figure.variance for figure in result.figures) ** 0.5
    assert abs(result.unlisted - 0.6) < 5 * error
    assert result.floor == pytest.approx(result.unlisted / CELLS)


def test_the_floor_is_what_makes_listed_and_unlisted_sum_to_one():
    """Each figure is its cell's estimate less the floor; the floor is what the unlisted leave in one of all cells."""
    mechanism = open_mechanism(2.0)
    words = [f"w{n}" for n in range(500)]
    sums = sums_of(mechanism, ["w1", "w2", "elsewhere"] * 100, np.random.default_rng(6))
    result = estimate_dictionary(mechanism, sums, words, SALT, 0.95)
    cells = mechanism.estimate(sums)

    for figure in result.figures:
        assert figure.estimate == pytest.approx(cells[cell_of(figure.words[0], SALT)] - result.floor, abs=1e-12)
        assert len({cell_of(word, SALT) for word in figure.words}) == 1
    assert sum(figure.estimate for figure in result.figures) + result.unlisted == pytest.approx(1)
    assert result.floor == pytest.approx(result.unlisted / CELLS)


def test_a_dictionary_of_most_cells_is_refused():
    mechanism = open_mechanism(1.0)
    words = [f"w{n}" for n in range(60_000)]
    with pytest.raises(ValueError, match="more than half"):
        estimate_dictionary(mechanism, [1, *[0] * len(mechanism.outputs())], words, SALT, 0.95)
