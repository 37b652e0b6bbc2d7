"""Point clouds: the layout on the wire, foreign layouts, and refusals."""

import sys

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from fourd_ros.bridge.clouds import BLOCK_POINTS, POINT, make_cloud, pack_points, packed_cloud, read_cloud
from fourd_ros.errors import InvalidCloud, TooLarge

RNG = np.random.default_rng(0)
COUNT = BLOCK_POINTS + 100
COLUMNS = {
    "points": RNG.normal(size=(COUNT, 3)).astype(np.float32),
    "rgb": RNG.integers(0, 256, (COUNT, 3), np.uint8),
    "sigma": RNG.random(COUNT, np.float32),
    "label": RNG.integers(0, 2**32, COUNT, np.uint32),
}


def test_cloud_goes_there_and_back():
    message = make_cloud(Header(frame_id="world"), **COLUMNS)
    for cloud in (read_cloud(message), read_cloud(by_rosbags(message))):
        assert cloud.keys() == COLUMNS.keys()
        for name, column in COLUMNS.items():
            np.testing.assert_array_equal(cloud[name], column)
    assert message.is_dense
    assert message.header.frame_id == "world"


def by_rosbags(message):
    store = get_typestore(Stores.ROS2_KILTED)
    return store.deserialize_cdr(serialize_message(message), "sensor_msgs/msg/PointCloud2")


def test_layout_on_the_wire():
    message = make_cloud(
        Header(), np.array([[1, 2, 3]], np.float32), rgb=np.array([[17, 34, 51]], np.uint8), sigma=[0.5], label=[7]
    )
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, PointField.FLOAT32, 1),
        ("y", 4, PointField.FLOAT32, 1),
        ("z", 8, PointField.FLOAT32, 1),
        ("rgb", 12, PointField.FLOAT32, 1),
        ("sigma", 16, PointField.FLOAT32, 1),
        ("label", 20, PointField.UINT32, 1),
    ]
    words = np.frombuffer(message.data, "<u4")
    assert words[3] == 0x112233
    assert words[5] == 7
    assert (message.point_step, message.row_step, message.width, message.height) == (24, 24, 1, 1)


def test_unknown_points_stay_and_are_announced():
    points = np.array([[1, 2, 3], [np.nan, np.nan, np.nan]], np.float32)
    message = make_cloud(Header(), points)
    assert not message.is_dense
    cloud = read_cloud(message)
    np.testing.assert_array_equal(cloud["points"], points)
    assert np.isnan(cloud["sigma"]).all()
    assert not cloud["label"].any()


def test_empty_cloud_is_legal():
    cloud = read_cloud(make_cloud(Header(), np.zeros((0, 3), np.float32)))
    assert cloud["points"].shape == (0, 3)
    assert cloud["rgb"].shape == (0, 3)


def test_packed_records_give_the_same_message():
    message = packed_cloud(Header(), pack_points(**COLUMNS))
    assert message == make_cloud(Header(), **COLUMNS)
    with pytest.raises(InvalidCloud):
        packed_cloud(Header(), np.zeros(3, np.float32))


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(InvalidCloud, match="rgb"):
        make_cloud(Header(), COLUMNS["points"], rgb=COLUMNS["rgb"][1:])


def foreign_cloud(order="<", padding=0, **changes):
    """2 x 2 points of a lidar: doubles, an intensity, gaps and padded rows."""
    record = np.dtype(
        {
            "names": list("xyzi"),
            "formats": [f"{order}f8"] * 3 + [f"{order}u2"],
            "offsets": [8, 16, 24, 0],
            "itemsize": 32,
        }
    )
    rows = np.zeros((2, 2 * record.itemsize + padding), np.uint8)
    points = np.ndarray((2, 2), record, buffer=rows, strides=(rows.shape[1], record.itemsize))
    for index, name in enumerate("xyz"):
        points[name] = np.arange(4).reshape(2, 2) + 10 * index
    points["i"] = [[1, 2], [3, 4]]
    fields = [PointField(name=n, offset=8 * i + 8, datatype=PointField.FLOAT64, count=1) for i, n in enumerate("xyz")]
    fields.append(PointField(name="intensity", offset=0, datatype=PointField.UINT16, count=1))
    values = {
        "height": 2,
        "width": 2,
        "fields": fields,
        "is_bigendian": order == ">",
        "point_step": 32,
        "row_step": rows.shape[1],
        "data": rows.tobytes(),
    }
    return PointCloud2(**{**values, **changes})


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("padding", [0, 5])
def test_foreign_layouts_are_read(order, padding):
    cloud = read_cloud(foreign_cloud(order, padding))
    np.testing.assert_array_equal(cloud["points"], np.arange(4)[:, None] + [0, 10, 20])
    np.testing.assert_array_equal(cloud["intensity"], [1, 2, 3, 4])
    assert cloud["points"].dtype == np.float32
    assert cloud["intensity"].dtype.byteorder == {"little": "=", "big": "="}[sys.byteorder]


X_ONLY = [PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1)]


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": []},
        {"fields": X_ONLY},
        {"fields": X_ONLY * 2},
        {"fields": [PointField(name="x", offset=30, datatype=PointField.FLOAT32, count=1)]},
        {"fields": [PointField(name="x", offset=0, datatype=99, count=1)]},
        {"fields": [PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=0)]},
        {"row_step": 63},
        {"point_step": 0},
        {"data": bytes(127)},
        {"data": bytes(129)},
    ],
    ids=str,
)
def test_contradictions_are_refused(changes):
    with pytest.raises(InvalidCloud):
        read_cloud(foreign_cloud(**changes))


def test_huge_cloud_is_refused_before_its_data_is_looked_at():
    with pytest.raises(TooLarge):
        read_cloud(PointCloud2(width=2**31, height=2**31))


def test_records_are_24_bytes():
    assert POINT.itemsize == 24
