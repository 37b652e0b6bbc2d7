"""``fourd doctor``: what is here, what is missing, how to get it."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from fourd_ros.commands.arguments import positive_float
from fourd_ros.commands.remapping import add_remapping, ros_arguments
from fourd_ros.machine import Finding, Status, examine
from fourd_ros.nodes.transport import transport_environment, use_large_messages
from fourd_ros.shared_memory import left_segments

EXAMPLES = [
    "fourd doctor",
    "fourd doctor --json | jq '.findings[] | select(.status == \"missing\")'",
    "fourd doctor --topics --cameras front wrist",
    "fourd doctor --topics --params-file my_robot.yaml --remap front/image:=/cam/color/image_raw",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.add_argument(
        "--clean-shared-memory", action="store_true", help="first remove what killed ROS processes have left there"
    )
    live = parser.add_argument_group("a live system")
    live.add_argument("--topics", action="store_true", help="look at the inputs of the world model instead")
    live.add_argument("--cameras", nargs="+", default=[], metavar="NAME", help="camera namespaces")
    live.add_argument("--params-file", type=Path, metavar="YAML", help="parameters of the world model node")
    live.add_argument("--namespace", default="", help="of the world model")
    add_remapping(live)
    live.add_argument("--seconds", type=positive_float, default=5.0, help="listen for so long (default 5)")


def run(args: argparse.Namespace) -> int:
    if args.clean_shared_memory:
        left_segments(remove=True)
    findings = _live(args) if args.topics else examine(transport=transport_environment())
    ok = all(finding.status is not Status.MISSING for finding in findings)
    if args.json:
        print(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        print(_table(findings))
    return 0 if ok else 1


def _live(args: argparse.Namespace) -> list[Finding]:
    use_large_messages()
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from fourd_ros.nodes.live_inputs import LiveInputs, settings_from

    settings = settings_from(args.params_file, args.cameras)
    with rclpy.init(args=["--ros-args", *ros_arguments(args.remap)]):
        node = rclpy.create_node("fourd_doctor", namespace=args.namespace or None)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            return LiveInputs(node, settings).listen(executor, args.seconds)
        finally:
            executor.shutdown()
            node.destroy_node()


def _table(findings: list[Finding]) -> str:
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.status]}  {finding.subject.ljust(width)}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{' ' * (width + 11)}-> {finding.remedy}")
    missing = sum(finding.status is Status.MISSING for finding in findings)
    return "\n".join([*lines, "", f"{missing} missing" if missing else "nothing missing"])


_MARKS = {Status.OK: "ok     ", Status.NOTE: "note   ", Status.MISSING: "MISSING"}
