"""What friction alone says about pushes."""

import numpy as np
import torch

from fourd_ros.world_model.compact.contact import FINGER, MARGIN, meetings, nudged, pushed, slide

SQUARE = torch.tensor([[[x, y, 0.0] for x in (-0.03, 0.03) for y in (-0.03, 0.03)]])
ALL = torch.ones(1, 4)


def push(place: list[float], way: list[float]) -> tuple[np.ndarray, np.ndarray]:
    found = slide(SQUARE, ALL, torch.tensor([place]), torch.tensor([way]), torch.tensor(0.7))
    return found.move[0].numpy(), found.turn[0].numpy()


def test_a_push_through_the_middle_moves_straight_on() -> None:
    move, turn = push([-0.03, 0.0, 0.01], [0.01, 0.0, 0.0])
    np.testing.assert_allclose(move, [0.01, 0.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(turn, 0.0, atol=1e-6)


def test_a_push_beside_the_middle_turns_and_the_place_goes_along() -> None:
    place, way = np.array([-0.03, 0.02, 0.0]), np.array([0.001, 0.0, 0.0])
    move, turn = push(place.tolist(), way.tolist())
    assert turn[2] < -1e-3 and 0 < move[0] < way[0]
    np.testing.assert_allclose((move + np.cross(turn, place))[:2], way[:2], atol=2e-6)


def test_what_nothing_meets_is_not_pushed() -> None:
    far = torch.full((1, 4, 2, 3), 0.5)
    distance, shares = meetings(far, torch.zeros(1, 2))
    assert (distance > 0.3).all() and (shares == 0).all()
    still = torch.eye(4)[None]
    place, way = pushed(SQUARE, ALL, far[:, :, 0], shares, still, torch.zeros(1), torch.eye(3)[None])
    assert (place == 0).all() and (way == 0).all()
    assert all((value == 0).all() for value in nudged(SQUARE, ALL, torch.full((1, 4, 3), 0.1), torch.zeros(1, 4, 3)))


def test_a_finger_meets_a_point_on_its_way() -> None:
    """In the grasp frame the point comes to the closed gripper's right finger from outside, 2 cm a step."""
    start = FINGER[0] + MARGIN + 0.005
    local = torch.tensor([[[[start, 0.0, -0.01], [start - 0.02, 0.0, -0.01]]]])
    distance, shares = meetings(local, torch.zeros(1, 2))
    np.testing.assert_allclose(shares[0, 0].numpy(), [0.75, 0.0, 0.0], atol=1e-4)
    np.testing.assert_allclose(distance[0, 0, 0, 0], MARGIN + 0.005, atol=1e-5)
    assert distance[0, 0, 1, 0] < 0, "it ends inside"


def test_a_closing_finger_takes_along_what_it_meets() -> None:
    local = torch.tensor([[[[0.02, 0.0, -0.01]] * 2]])
    gaps = torch.tensor([[0.06, 0.03]])
    _, shares = meetings(local, gaps)
    assert shares[0, 0, 0] > 0 and shares[0, 0, 1] == 0
    offsets, axes = torch.zeros(1, 1, 3), torch.eye(3)[None]
    closing = (gaps[:, 0] - gaps[:, 1]) / 2
    _, way = pushed(offsets, torch.ones(1, 1), local[:, :, 0], shares, torch.eye(4)[None], closing, axes)
    np.testing.assert_allclose(way[0].numpy(), [-float(shares[0, 0, 0]) * 0.015, 0.0, 0.0], atol=1e-6)


def test_another_thing_pushes_as_far_as_it_comes() -> None:
    gap = torch.tensor([[[-0.01, 0.0, 0.0]]])
    motion = torch.tensor([[[0.012, 0.0, 0.0]]])
    _, far = nudged(torch.zeros(1, 1, 3), torch.ones(1, 1), gap, motion)
    assert (far == 0).all(), "it was 2.2 cm away and came 1.2 cm"
    _, way = nudged(torch.zeros(1, 1, 3), torch.ones(1, 1), gap / 5, motion)
    np.testing.assert_allclose(way[0].numpy(), [0.006, 0.0, 0.0], atol=1e-6)
    _, away = nudged(torch.zeros(1, 1, 3), torch.ones(1, 1), gap, -motion / 4)
    assert (away == 0).all()


def test_a_neighbour_that_came_too_far_pushes_out_of_its_way() -> None:
    """It was 1 cm away, and has come 2 cm: by now it lies behind the point."""
    motion = torch.tensor([[[0.02, 0.0, 0.0]]])
    _, way = nudged(torch.zeros(1, 1, 3), torch.ones(1, 1), torch.tensor([[[0.01, 0.0, 0.0]]]), motion)
    np.testing.assert_allclose(way[0].numpy(), [0.018, 0.0, 0.0], atol=1e-6)


def test_a_finger_that_goes_away_pulls_nothing() -> None:
    start = FINGER[0] + MARGIN / 2
    local = torch.tensor([[[[start, 0.0, -0.01], [start + 0.02, 0.0, -0.01]]]])
    _, shares = meetings(local, torch.zeros(1, 2))
    assert (shares == 0).all()
