"""``fourd policy``: which policies there are, and one of them behind a socket."""

import argparse
import json
from pathlib import Path
from typing import Any

from fourd_ros.commands.arguments import non_negative_int
from fourd_ros.whole_file import write_whole

EXAMPLES = [
    "fourd policy list",
    "fourd policy serve imitation/late --task push --port 8000",
    "fourd policy serve scripted/expert --task push --port 0 --client out/expert.json",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Listing and serving."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="scripted policies by task, and what other names mean")
    listing.add_argument("--json", action="store_true", help="for scripts")
    listing.set_defaults(run_action=_list)
    serving = actions.add_parser("serve", help="answer clients that speak the protocol of openpi")
    serving.add_argument("name", metavar="NAME", help="such as scripted/expert or imitation/late")
    serving.add_argument("--task", required=True, help="kind of task that it is made for")
    serving.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    serving.add_argument("--port", type=non_negative_int, default=8000, help="0 for a free one (default 8000)")
    serving.add_argument(
        "--client", type=Path, metavar="FILE", help="write what 'websocket/FILE' has to know to ask this server"
    )
    serving.set_defaults(run_action=_serve)


def run(args: argparse.Namespace) -> int:
    """Do what was asked for."""
    return int(args.run_action(args))


def _list(args: argparse.Namespace) -> int:
    from fourd_ros.policies.registry import policy_kinds
    from fourd_ros.policies.scripted import SKILLS

    names = {task: [f"scripted/{name}" for name in skills] for task, skills in SKILLS.items()}
    if args.json:
        print(json.dumps({"kinds": policy_kinds(), "scripted": names}, indent=1))
        return 0
    for task, found in names.items():
        print(f"{task}: {' '.join(found)}")
    others = ", ".join(f"{kind}/..." for kind in policy_kinds() if kind != "scripted")
    print(f"others: {others}, module:Class/... of your own")
    return 0


def _serve(args: argparse.Namespace) -> int:
    from fourd_ros.policies.registry import make_policy
    from fourd_ros.policies.websocket_server import serve_policy
    from fourd_ros.robot.kinematics import Kinematics
    from fourd_ros.robot.panda import panda_description

    policy = make_policy(args.name, task=args.task)
    joints = Kinematics(panda_description()).joint_names
    server: Any = serve_policy(policy, joints, host=args.host, port=args.port)
    try:
        if args.client is not None:
            write_whole(args.client, json.dumps(server.client_options(), indent=1) + "\n")
        print(f"{args.name} answers at {server.url}; Ctrl-C ends it", flush=True)
        server.serve()
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop()
        policy.close()
    return 0
