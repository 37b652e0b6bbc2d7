"""Reading URDFs: what they say, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from fourd_ros.errors import InvalidRobotDescription, MeshUnavailable, PathNotAllowed
from fourd_ros.robot.description import Box, Cylinder, Mesh, RobotDescription, Sphere, load_description
from fourd_ros.robot.panda import PANDA_URDF, panda_description
from fourd_ros.robot.renderer import RobotRenderer

TRIANGLE = (
    "solid t\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\nendsolid t\n"
)


def robot(body: str) -> str:
    return f'<robot name="r">{body}</robot>'


def joint(name: str, parent: str, child: str, kind: str = "fixed", body: str = "") -> str:
    return f'<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>{body}</joint>'


def mesh_robot(filename: str) -> str:
    return robot(f'<link name="a"><visual><geometry><mesh filename="{filename}"/></geometry></visual></link>')


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """A folder ``allowed/`` with a mesh, and a mesh outside it."""
    for folder in ("allowed", "outside"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.stl").write_text(TRIANGLE)
    return tmp_path


def test_panda_is_what_its_file_says() -> None:
    panda = panda_description()
    assert panda.name == "panda" and panda.root == "panda_link0" and len(panda.links) == 13
    by_name = {joint.name: joint for joint in panda.joints}
    assert (by_name["panda_joint4"].lower, by_name["panda_joint4"].upper) == (-3.1416, 0.0)
    assert by_name["panda_joint5"].velocity == 2.61
    mimic = by_name["panda_finger_joint2"].mimic
    assert mimic is not None and (mimic.joint, mimic.multiplier, mimic.offset) == ("panda_finger_joint1", 1.0, 0.0)
    hand = next(link for link in panda.links if link.name == "panda_hand")
    assert {visual.colour for visual in hand.visuals} == {(0.93, 0.93, 0.93), (0.75, 0.77, 0.78), (0.25, 0.25, 0.25)}


def test_published_text_and_file_mean_the_same() -> None:
    published = RobotDescription.from_urdf(panda_description().text)
    from_file = load_description(PANDA_URDF)
    for one, other in zip(published.links, from_file.links, strict=True):
        assert [v.geometry.path for v in one.visuals] == [v.geometry.path for v in other.visuals]


def test_joints_come_parents_first_whatever_the_order() -> None:
    text = robot(
        '<link name="c"/><link name="b"/><link name="a"/>' + joint("second", "b", "c") + joint("first", "a", "b")
    )
    description = RobotDescription.from_urdf(text)
    assert description.root == "a"
    assert [j.name for j in description.joints] == ["first", "second"]


def test_shapes_origins_and_colours() -> None:
    visuals = "".join(
        f'<visual><origin xyz="1 2 3" rpy="0 0 1.5707963267948966"/><geometry>{shape}</geometry>{look}</visual>'
        for shape, look in (
            ('<box size="1 2 3"/>', '<material name="blue"/>'),
            ('<cylinder radius="0.1" length="2"/>', '<material name=""><color rgba="1 0 0 1"/></material>'),
            ('<sphere radius="0.5"/>', ""),
        )
    )
    material = '<material name="blue"><color rgba="0 0 1 1"/></material>'
    (link,) = RobotDescription.from_urdf(robot(f'<link name="a">{visuals}</link>{material}')).links
    box, cylinder, sphere = link.visuals
    assert isinstance(box.geometry, Box) and box.geometry.size.tolist() == [1, 2, 3]
    assert isinstance(cylinder.geometry, Cylinder) and cylinder.geometry.length == 2
    assert isinstance(sphere.geometry, Sphere) and sphere.geometry.radius == 0.5
    assert (box.colour, cylinder.colour, sphere.colour) == ((0, 0, 1), (1, 0, 0), None)
    np.testing.assert_allclose(box.T_link_visual @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)


def test_a_description_without_meshes_is_legal() -> None:
    description = RobotDescription.from_urdf(robot('<link name="a"/><link name="b"/>' + joint("j", "a", "b")))
    assert all(link.visuals == () for link in description.links)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<robot", "not well-formed"),
        ("", "not well-formed"),
        ("<sdf/>", "<robot>"),
        ('<!DOCTYPE r [<!ENTITY e "x">]><robot name="&e;"><link name="a"/></robot>', "entities"),
        (robot(""), "0 links"),
        (robot('<link name="a"/><link name="a"/>'), "twice"),
        (robot("<link/>"), "no attribute 'name'"),
        (robot('<link name="a"/><link name="b"/>'), "several roots"),
        (robot('<link name="a"/><link name="b"/>' + joint("j", "a", "b") + joint("k", "b", "a")), "cycle"),
        (
            robot('<link name="r"/><link name="a"/><link name="b"/>' + joint("j", "a", "b") + joint("k", "b", "a")),
            "cycle",
        ),
        (robot('<link name="a"/>' + joint("j", "nowhere", "a")), "nowhere"),
        (robot('<link name="a"/><link name="b"/>' + joint("j", "a", "b") + joint("k", "a", "b")), "several parents"),
        (robot('<link name="a"/><link name="b"/>' + joint("j", "a", "b", "floating")), "floating"),
        (robot('<link name="a"/><link name="b"/>' + joint("j", "a", "b", "revolute")), "no <limit>"),
        (
            robot(
                '<link name="a"/><link name="b"/>' + joint("j", "a", "b", "continuous", '<axis xyz="0 0 0"/>'),
            ),
            "axis",
        ),
        (
            robot('<link name="a"/><link name="b"/>' + joint("j", "a", "b", "continuous", '<mimic joint="j"/>')),
            "cycle",
        ),
        (
            robot('<link name="a"/><link name="b"/>' + joint("j", "a", "b", "continuous", '<mimic joint="k"/>')),
            "'k'",
        ),
        (
            robot('<link name="a"><visual><origin xyz="1 2"/><geometry><box size="1 1 1"/></geometry></visual></link>'),
            "3",
        ),
        (robot('<link name="a"><visual><geometry><box size="1 nan 1"/></geometry></visual></link>'), "finite"),
        (robot('<link name="a"><visual><geometry><sphere radius="-1"/></geometry></visual></link>'), "positive"),
        (robot('<link name="a"><visual><geometry><teapot/></geometry></visual></link>'), "teapot"),
        (robot("".join(f'<link name="{i}"/>' for i in range(1001))), "1001 links"),
        (" " * 10_000_001, "characters"),
    ],
)
def test_descriptions_that_mean_nothing_are_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidRobotDescription, match=reason):
        RobotDescription.from_urdf(text)


@pytest.mark.parametrize(
    "reference", ["package://mine/part.stl", "part.stl", "file://{allowed}/part.stl", "{allowed}/part.stl"]
)
def test_mesh_references(meshes: Path, reference: str) -> None:
    allowed = meshes / "allowed"
    text = mesh_robot(reference.format(allowed=allowed))
    description = RobotDescription.from_urdf(text, package_roots={"mine": allowed}, base_directory=allowed)
    geometry = description.links[0].visuals[0].geometry
    assert isinstance(geometry, Mesh) and geometry.path == (allowed / "part.stl").resolve()


def test_installed_packages_are_found(meshes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (meshes / "prefix" / "share").mkdir(parents=True)
    (meshes / "allowed").rename(meshes / "prefix" / "share" / "mine")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{meshes / 'prefix'}")
    assert RobotDescription.from_urdf(mesh_robot("package://mine/part.stl")).links[0].visuals


@pytest.mark.parametrize(
    "reference",
    [
        "../outside/part.stl",
        "package://mine/../outside/part.stl",
        "package://mine/%2e%2e/outside/part.stl",
        "file://{outside}/part.stl",
        "{outside}/part.stl",
        "link.stl",
        "https://example.org/part.stl",
        "file://[part.stl",
    ],
)
def test_meshes_outside_the_allowed_roots_are_refused(meshes: Path, reference: str) -> None:
    allowed, outside = meshes / "allowed", meshes / "outside"
    (allowed / "link.stl").symlink_to(outside / "part.stl")
    with pytest.raises(PathNotAllowed):
        RobotDescription.from_urdf(
            mesh_robot(reference.format(outside=outside)), package_roots={"mine": allowed}, base_directory=allowed
        )


def test_given_roots_replace_the_default_ones(meshes: Path) -> None:
    text = mesh_robot("part.stl")
    with pytest.raises(PathNotAllowed):
        RobotDescription.from_urdf(text, base_directory=meshes / "allowed", allowed_roots=[meshes / "outside"])
    RobotDescription.from_urdf(text, base_directory=meshes / "allowed", allowed_roots=[meshes])


@pytest.mark.parametrize(
    "reference", ["package://not_installed/part.stl", "package:///part.stl", "package://../part.stl", "part.stl"]
)
def test_meshes_nobody_can_find_are_named(reference: str) -> None:
    with pytest.raises(MeshUnavailable, match=r"part\.stl"):
        RobotDescription.from_urdf(mesh_robot(reference))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.stl", None),
        ("empty.stl", ""),
        ("broken.obj", "f 7 8 9\n"),
        ("notes.txt", "hello"),
        ("broken.glb", "x" * 99),
    ],
)
def test_mesh_files_that_hold_no_mesh_are_named(meshes: Path, name: str, content: str | None) -> None:
    if content is not None:
        (meshes / "allowed" / name).write_text(content)
    description = RobotDescription.from_urdf(mesh_robot(name), base_directory=meshes / "allowed")
    with pytest.raises(MeshUnavailable, match=name):
        RobotRenderer(description)


def test_xacro_files_are_expanded(tmp_path: Path) -> None:
    path = tmp_path / "robot.urdf.xacro"
    path.write_text(
        '<robot xmlns:xacro="http://www.ros.org/wiki/xacro" name="r"><xacro:property name="n" value="3"/>'
        '<link name="${2 * n}"/></robot>'
    )
    assert load_description(path).root == "6"
    path.write_text('<robot xmlns:xacro="http://www.ros.org/wiki/xacro" name="r"><link name="${unknown}"/></robot>')
    with pytest.raises(InvalidRobotDescription, match="xacro"):
        load_description(path)


@pytest.mark.parametrize("name", ["missing.urdf", "robot.py"])
def test_only_robot_files_are_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / "robot.py").write_text("")
    with pytest.raises(PathNotAllowed, match=name):
        load_description(tmp_path / name)


def test_names_that_no_file_can_have_are_refused() -> None:
    with pytest.raises(MeshUnavailable, match="null"):
        RobotDescription.from_urdf(mesh_robot("package://fourd_ros/assets/%00.stl"))
