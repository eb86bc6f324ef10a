"""Windows outside a region are not run, or all are laid over the box around it."""

import pytest
import torch

from gridgate.pipeline.inference.sliding_window import SlidingWindow

from .window_network import Network, image, joined


@pytest.fixture
def network() -> Network:
    return Network().eval()


def test_windows_outside_the_region_are_not_run_and_get_the_background(network: Network) -> None:
    inputs = image(48, 16, 16)
    region = torch.zeros(48, 16, 16, dtype=torch.bool)
    region[30, 3, 3] = True
    inferer = SlidingWindow((16, 16, 16), overlap=0.5, amp=False)
    everywhere = inferer(inputs, network)
    slabs = inferer.slabs(inputs[0], network, region=region)
    found = joined(slabs)
    # windows begin at 0, 8, 16, 24 and 32; those from 16 and 24 on hold row 30
    assert (slabs.facts.windows, slabs.facts.windows_skipped) == (5, 3)
    assert (found.argmax(0)[:16] == 0).all() and (found.argmax(0)[40:] == 0).all()
    # no window that holds a voxel of the region is missing, so it has its scores from all of them
    torch.testing.assert_close(found[:, 30], everywhere[0, :, 30], rtol=0, atol=1e-6)
    torch.testing.assert_close(inferer(inputs, network, region=region)[0], found, rtol=0, atol=0)


def test_windows_fitted_to_the_region_are_those_of_the_crop(network: Network) -> None:
    inputs = image(60, 40, 30)
    region = torch.zeros(60, 40, 30, dtype=torch.bool)
    region[20:44, 5:29, 4:23] = True
    inferer = SlidingWindow((16, 16, 16), overlap=0.5, amp=False, fit_region=True)
    slabs = inferer.slabs(inputs[0], network, region=region)
    found = joined(slabs)
    crop = SlidingWindow((16, 16, 16), overlap=0.5, amp=False)(
        inputs[:, :, 20:44, 5:29, 4:23], network
    )[0]
    torch.testing.assert_close(found[:, 20:44, 5:29, 4:23], crop, rtol=0, atol=1e-6)
    outside = torch.ones(60, 40, 30, dtype=torch.bool)
    outside[20:44, 5:29, 4:23] = False
    assert (found.argmax(0)[outside] == 0).all()
    # 7 x 4 x 3 windows over the volume, 2 x 2 x 2 over the box
    assert (slabs.facts.windows, slabs.facts.windows_skipped) == (84, 76)


def test_windows_are_not_moved_where_that_saves_none(network: Network) -> None:
    inputs = image(40, 24, 16)
    region = torch.zeros(40, 24, 16, dtype=torch.bool)
    region[3:39] = True  # a box of 36 voxels takes as many windows as one of 40
    fitted, plain = (
        SlidingWindow((16, 16, 16), amp=False, fit_region=fit) for fit in (True, False)
    )
    torch.testing.assert_close(
        fitted(inputs, network, region=region),
        plain(inputs, network, region=region),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(("voxel", "start"), [(1, 0), (30, 23), (57, 44)])
def test_a_region_smaller_than_a_window_gets_one_window_around_it(
    network: Network, voxel: int, start: int
) -> None:
    inputs = image(60, 16, 16)
    region = torch.zeros(60, 16, 16, dtype=torch.bool)
    region[voxel, 3, 3] = True
    slabs = SlidingWindow((16, 16, 16), amp=False, fit_region=True).slabs(
        inputs[0], network, region=region
    )
    found, inside = joined(slabs), slice(start, start + 16)
    with torch.no_grad():
        torch.testing.assert_close(
            found[:, inside], network(inputs[:, :, inside])[0], rtol=0, atol=1e-5
        )
    assert (found[:, :start].argmax(0) == 0).all() and (found[:, start + 16 :].argmax(0) == 0).all()
    assert slabs.facts.windows - slabs.facts.windows_skipped == 1


def test_an_empty_region_is_all_background(network: Network) -> None:
    nothing = torch.zeros(20, 30, 20, dtype=torch.bool)
    slabs = SlidingWindow((16, 16, 16), amp=False).slabs(
        image(20, 30, 20)[0], network, region=nothing
    )
    found = joined(slabs)
    assert found.shape == (3, 20, 30, 20) and (found.argmax(0) == 0).all()
    assert slabs.facts.windows == slabs.facts.windows_skipped == 12
