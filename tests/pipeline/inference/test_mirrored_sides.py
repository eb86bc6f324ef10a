"""Test-time mirroring of labels with sides: the mean over views in which sides are exchanged."""

import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.inference.sliding_window import SlidingWindow

LABELS = ["background", "right_kidney", "left_kidney"]


class SidesByPlace(torch.nn.Module):
    """Right in the low half of a window, left in the high one; wrongly sure in one corner."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(x), self.channels, *x.shape[2:])
        half = x.shape[2] // 2
        scores[:, -2, :half] = 4.0
        scores[:, -1, half:] = 4.0
        scores[:, -1, :2, :2] += 5.0  # a low corner that is called left
        return scores


@pytest.mark.parametrize("regions", [False, True])
def test_mirrored_views_are_averaged_with_their_sides(regions: bool) -> None:
    channels = 2 if regions else 3
    pair = [[1, 2]]
    image = torch.randn(1, 1, 8, 8, 8)
    network = SidesByPlace(channels)
    window = SlidingWindow((8, 8, 8), mirror_axes=[0], side_pairs=pair, regions=regions, amp=False)
    found = window(image, network)
    usual = network(image)
    mirrored = network(image.flip(2)).flip(2)
    by_hand = mirrored.clone()
    by_hand[:, -2], by_hand[:, -1] = mirrored[:, -1], mirrored[:, -2]
    torch.testing.assert_close(found, (usual + by_hand) / 2)
    assert (found[0, -2, 0, 4] > found[0, -1, 0, 4]).all()  # the low half is the right one


def test_views_whose_sides_would_be_lost_are_refused() -> None:
    with pytest.raises(ConfigError, match="left_kidney"):
        SlidingWindow((8, 8, 8), mirror_axes=[0], labels=LABELS, side_pairs=[])
    by_name = SlidingWindow((8, 8, 8), mirror_axes=[0], labels=LABELS)
    assert by_name.sides.pairs == ((1, 2),)
