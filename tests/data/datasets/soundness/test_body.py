"""Where the body is: tissue and what it encloses; a table beside it is none."""

import numpy as np

from gridgate.data.datasets.soundness.body import find_body


def test_lungs_are_inside_and_the_air_around_is_not() -> None:
    hu = np.full((40, 30, 8), -1000, np.int16)
    hu[10:30, 5:25] = 40
    hu[13:18, 8:20] = -800  # a lung
    hu[20:24, 8:20, :4] = -800  # one that is open to no side of its planes
    hu[38:40, 2:4, 3] = 200  # a tube
    body = find_body(hu)
    inside = np.argwhere(hu == -800)
    assert not body.outside(inside).any()
    assert body.outside(np.array([[2, 2, 2], [35, 28, 7], [39, 3, 3]])).all()
    assert abs(body.air - (1 - 20 * 20 / (40 * 30))) < 0.01


def test_a_large_ct_is_looked_at_in_steps() -> None:
    hu = np.full((300, 200, 20), -1000, np.int16)
    hu[60:240, 40:160] = 40
    body = find_body(hu)
    assert max(body.mask.shape) <= 112
    assert not body.outside(np.array([[150, 100, 10], [65, 45, 0]])).any()
    assert body.outside(np.array([[10, 10, 10], [290, 190, 19]])).all()
