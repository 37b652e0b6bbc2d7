"""From a filmed scene to objects where they stand: windows, masks that contradict, placement, poses."""

import numpy as np
import pytest
from filmed_rig import BALL_RADIUS, BALLS, CAMERA, PARTS, STEP, filmed, model

from fourd_ros.compositional.clip_window import ClipWindow
from fourd_ros.compositional.filmed_scene import FilmedScene, rests
from fourd_ros.compositional.options import MotionOptions, SceneOptions
from fourd_ros.compositional.placed_objects import PLACING, FilmOptions, reconstruct_filmed
from fourd_ros.compositional.segmentation.segmenter import SegmentedObject
from fourd_ros.errors import Cancelled, InvalidClip, InvalidParameter, TooLarge

FEW = FilmOptions(
    resolution=32, max_faces=200, scene=SceneOptions(steps=2, guidance=1), motion=MotionOptions(steps=2, guidance=1)
)


def replaced(scene: FilmedScene, *objects: SegmentedObject) -> FilmedScene:
    return FilmedScene(rgb=scene.rgb, objects=objects, depth=scene.depth, camera=scene.camera)


def thing(number: int, masks: np.ndarray, *, moves: bool = True) -> SegmentedObject:
    return SegmentedObject(number=number, label="", moves=moves, masks=masks)


def test_one_ball_lands_where_it_is_seen_and_moves_as_it_does() -> None:
    scene = filmed(3)
    told: list[tuple[str, int, int]] = []
    only = replaced(scene, scene.moving[0])
    made = reconstruct_filmed(model(), only, FEW, progress=lambda *step: told.append(step))
    (ball,) = made.objects
    assert made.placement.source == "depth" and made.placement.residual < 0.03
    assert told[-1] == (PLACING, 1, 1) and {name for name, _, _ in told} == {"pictures", "motion", "meshes", PLACING}
    # One cube for all frames: the network made the same ball three times, so it stands where it fits best.
    middle = np.mean(ball.track.T_parent_object[:, :3, 3], axis=0)
    assert np.linalg.norm(middle - np.array(BALLS[1]) + [STEP, 0, 0]) < 0.04
    assert ball.track.number == 1 and ball.moves and ball.seen.all()
    size = np.ptp(ball.track.at(0).bounds, axis=0)
    assert np.abs(size - 2 * BALL_RADIUS).max() < 0.06


def test_objects_at_rest_are_told_by_their_masks_and_keep_their_numbers() -> None:
    scene = filmed(2)
    swapped = replaced(scene, *(thing(9 - one.number, one.masks, moves=one.moves) for one in scene.objects))
    made = reconstruct_filmed(model(), swapped, FEW)
    assert [(one.track.number, one.moves, len(one.track.shown)) for one in made.objects] == [
        (7, False, 2),
        (8, True, 2),
    ]


def test_without_depth_a_known_size_places_objects_and_else_nothing_does() -> None:
    scene = filmed(1)
    blind = FilmedScene(rgb=scene.rgb, objects=scene.moving, camera=CAMERA)
    sized = FilmOptions(**{**vars(FEW), "object_size": 2 * BALL_RADIUS})
    by_size = reconstruct_filmed(model(), blind, sized)
    assert by_size.placement.source == "size"
    assert np.abs(by_size.objects[0].track.T_parent_object[0, :3, 3] - BALLS[1]).max() < 0.1
    assert reconstruct_filmed(model(), blind, FEW).placement.source == "identity"
    uncalibrated = FilmedScene(rgb=scene.rgb, objects=scene.moving, depth=scene.depth)
    assert reconstruct_filmed(model(), uncalibrated, FEW).placement.source == "identity"


def test_what_is_hidden_for_some_frames_has_a_shape_all_the_same() -> None:
    scene = filmed(3)
    masks = scene.moving[0].masks.copy()
    masks[1] = False
    (ball,) = reconstruct_filmed(model(), replaced(scene, thing(1, masks)), FEW).objects
    assert ball.seen.tolist() == [True, False, True]
    assert not ball.track.at(1).is_empty


def test_masks_may_overlap() -> None:
    scene = filmed(1)
    both = np.logical_or.reduce([one.masks for one in scene.objects])
    made = reconstruct_filmed(model(), replaced(scene, thing(1, scene.moving[0].masks), thing(2, both)), FEW)
    assert [one.track.number for one in made.objects] == [1, 2]


def test_more_objects_than_the_network_can_tell_apart_are_refused() -> None:
    scene = filmed(1)
    crowd = [thing(number, scene.moving[0].masks) for number in range(1, PARTS + 2)]
    with pytest.raises(TooLarge, match=str(PARTS)):
        reconstruct_filmed(model(), replaced(scene, *crowd), FEW)


def test_it_can_be_cancelled_at_every_step() -> None:
    steps: list[int] = []
    reconstruct_filmed(model(), filmed(1), FEW, progress=lambda *_: steps.append(1))
    for wanted in (1, len(steps) // 2):
        asked: list[int] = []

        def cancel(asked: list[int] = asked, wanted: int = wanted) -> bool:
            asked.append(1)
            return len(asked) > wanted

        with pytest.raises(Cancelled):
            reconstruct_filmed(model(), filmed(1), FEW, cancel=cancel)
        assert len(asked) == wanted + 1


def test_scenes_that_contradict_themselves_are_refused() -> None:
    scene = filmed(2)
    for changed, said in (
        ({"objects": ()}, "no object"),
        ({"rgb": scene.rgb[0]}, "needed are uint8"),
        ({"rgb": scene.rgb[:, :-1]}, "masks of object 1"),
        ({"depth": np.zeros((1, 48, 64), np.float32)}, "depth is"),
        ({"camera": CAMERA.scaled(32, 24)}, "a camera of 32 x 24"),
    ):
        with pytest.raises(InvalidClip, match=said):
            FilmedScene(**{**vars(scene), **changed})
    empty = replaced(scene, thing(1, np.zeros_like(scene.moving[0].masks)))
    with pytest.raises(InvalidClip, match="no mask shows"):
        empty.window(0.5)
    for bad in ({"fill": 0.0}, {"fill": 2.0}, {"max_faces": 3}):
        with pytest.raises(InvalidParameter):
            FilmOptions(**bad)


def test_a_window_is_around_the_objects_and_may_reach_beyond_the_picture() -> None:
    shown = np.zeros((20, 30), bool)
    shown[2:6, 1:9] = True
    window = ClipWindow.around(shown, fill=0.5)
    assert (window.left, window.top, window.side) == (-3, -4, 16)
    cut = window.cut(np.arange(600).reshape(20, 30), fill=-1)
    assert cut.shape == (16, 16) and (cut[:4] == -1).all() and (cut[:, :3] == -1).all()
    assert cut[4, 3] == 0 and cut[15, 15] == 11 * 30 + 12
    whole = ClipWindow.whole(20, 30)
    assert (whole.cut(shown, fill=True).sum(axis=1) == 30).sum() == 10


def test_a_cube_beside_the_middle_of_the_picture_is_turned_towards_it() -> None:
    window = ClipWindow(left=48, top=16, side=16)
    turn = window.turn_of_cube(CAMERA)
    middle = np.array([55.5, 23.5])
    ray = np.array([*((middle - CAMERA.K[:2, 2]) / 60.0), 1.0])
    np.testing.assert_allclose(turn @ [0, 0, -1], ray / np.linalg.norm(ray), atol=1e-9)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    centred = ClipWindow(left=24, top=16, side=16)
    np.testing.assert_allclose(centred.turn_of_cube(CAMERA), np.diag([1, -1, -1]), atol=1e-9)


def test_what_stands_still_is_told_by_its_masks() -> None:
    still, moving = (one.masks for one in (filmed(6).static[0], filmed(6).moving[0]))
    assert rests(still) and not rests(moving)
    hidden = still.copy()
    hidden[2] = False
    assert rests(hidden) and rests(moving[:1])
