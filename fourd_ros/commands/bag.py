"""``fourd bag``: look into, play, record and recover bags."""

import argparse
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from fourd_ros.commands.arguments import non_negative_float, positive_float, renaming
from fourd_ros.data.bag_summary import BagSummary, summarize
from fourd_ros.data.bags import BagReader, BagWriter, recover
from fourd_ros.errors import InvalidBag

EXAMPLES = [
    "fourd bag info my_bag",
    "fourd bag info my_bag --json | jq .inputs.missing",
    "fourd bag play my_bag --loop --rate 0.5 --remap /cam/image_raw:=/front/image",
    "fourd bag play my_bag --as-fast-as-possible --wait-for /front/image",
    "fourd bag record out/my_bag --topics /front/image /tf /tf_static --max-duration 30",
    "fourd bag recover broken.mcap out/whole_bag",
]

SPIN_PERIOD = 0.05
MEGABYTE = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs of ``fourd bag``."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_info(verbs.add_parser("info", help="topics, rates, QoS, cameras, and what a world model would miss"))
    _add_play(verbs.add_parser("play", help="publish what was recorded, with /clock"))
    _add_record(verbs.add_parser("record", help="write topics of a running system into a bag"))
    _add_recover(verbs.add_parser("recover", help="save what is readable of a truncated bag"))


def run(args: argparse.Namespace) -> int:
    """Run the chosen verb."""
    return int(args.run_verb(args))


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="rosbag2 folder or .mcap file")
    parser.add_argument("--json", action="store_true", help="for scripts")
    parser.set_defaults(run_verb=_info)


def _add_play(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="rosbag2 folder or .mcap file")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=positive_float, default=1.0, help="recorded seconds per second (default 1)")
    pace.add_argument(
        "--as-fast-as-possible",
        action="store_const",
        const=0.0,
        dest="rate",
        help="do not pace; wait only for reliable subscribers that are behind",
    )
    parser.add_argument("--loop", action="store_true", help="start over at the end (time jumps back)")
    parser.add_argument("--start", type=non_negative_float, default=0.0, metavar="S", help="skip the first S seconds")
    parser.add_argument("--duration", type=positive_float, metavar="S", help="play S seconds of the recording")
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="only these")
    parser.add_argument("--remap", nargs="+", default=[], type=renaming, metavar="FROM:=TO", help="publish as TO")
    parser.add_argument(
        "--clock", action=argparse.BooleanOptionalAction, default=True, help="publish /clock (default: yes)"
    )
    parser.add_argument(
        "--wait-for", nargs="+", default=[], metavar="TOPIC", help="begin when somebody subscribed to these"
    )
    parser.add_argument(
        "--timeout", type=positive_float, default=30.0, metavar="S", help="longest wait for subscribers"
    )
    parser.add_argument("--json", action="store_true", help="print a report for scripts; no progress bar")
    parser.set_defaults(run_verb=_play)


def _add_record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="folder to create")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="only these (default: all)")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="TOPIC", help="all but these")
    parser.add_argument("--max-duration", type=positive_float, default=0.0, metavar="S", help="stop after S seconds")
    parser.add_argument("--max-size", type=positive_float, default=0.0, metavar="MB", help="stop after MB of messages")
    parser.add_argument(
        "--compression", choices=("none", "zstd"), default="none", help="zstd is too slow for several raw cameras"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bag when the new one is whole")
    parser.add_argument("--use-sim-time", action="store_true", help="times of recording from /clock")
    parser.add_argument("--json", action="store_true", help="print a report for scripts; no progress line")
    parser.set_defaults(run_verb=_record)


def _add_recover(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="truncated .mcap file, or a folder with such files")
    parser.add_argument("new_bag", type=Path, help="folder to create")
    parser.add_argument("--overwrite", action="store_true", help="replace NEW_BAG where it exists")
    parser.set_defaults(run_verb=_recover)


def _info(args: argparse.Namespace) -> int:
    with BagReader(args.bag) as reader:
        summary = summarize(reader)
    print(json.dumps(summary.as_dict(), indent=2) if args.json else format_summary(summary))
    return 0


def _play(args: argparse.Namespace) -> int:
    from fourd_ros.nodes.bag_player import BagPlayer, PlaySettings

    settings = PlaySettings(
        rate=args.rate,
        loop=args.loop,
        start=args.start,
        duration=args.duration,
        topics=args.topics,
        remaps=dict(args.remap),
        clock=args.clock,
        wait_for=args.wait_for,
        timeout=args.timeout,
    )
    with BagReader(args.bag) as reader, _node("bag_player") as node, _until_interrupted() as interrupted:
        player = BagPlayer(node, reader, settings)
        interrupted.on_set(player.stop)
        with tqdm(total=player.span, unit="s", disable=args.json, bar_format=_PROGRESS) as bar:
            report = player.play(lambda seconds: bar.update(seconds - bar.n))
    if args.json:
        print(json.dumps(vars(report)))
    else:
        for topic, typename in report.skipped.items():
            print(f"left out {topic}: no Python class for {typename}")
        print(f"played {report.messages} messages, {report.data_bytes / MEGABYTE:.1f} MB, {report.passes} times whole")
    return 0


def _record(args: argparse.Namespace) -> int:
    from fourd_ros.nodes.bag_recorder import BagRecorder, RecordSettings

    settings = RecordSettings(
        topics=args.topics,
        exclude=args.exclude,
        max_bytes=round(args.max_size * MEGABYTE),
        max_duration=args.max_duration,
    )
    compression: Literal["zstd", ""] = "zstd" if args.compression == "zstd" else ""
    with (
        _node("bag_recorder", use_sim_time=args.use_sim_time) as node,
        _until_interrupted() as interrupted,
        BagWriter(args.bag, compression=compression, overwrite=args.overwrite) as writer,
        tqdm(unit="B", unit_scale=True, disable=args.json) as bar,
    ):
        recorder = BagRecorder(node, writer, settings)
        _spin(node, recorder, interrupted, bar)
        report = recorder.report()
        recorder.close()
        if not report.messages:
            raise InvalidBag(f"no message arrived, so no bag was written; topics: {report.topics or 'none seen'}")
    if args.json:
        print(json.dumps({"bag": str(args.bag), **vars(report)}))
    else:
        print(f"{args.bag}: {report.messages} messages of {len(report.topics)} topics")
    return 0


def _spin(node: Any, recorder: Any, interrupted: "_Interruption", bar: Any) -> None:
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        while rclpy.ok(context=node.context) and not interrupted.is_set() and not recorder.finished:
            executor.spin_once(timeout_sec=SPIN_PERIOD)
            bar.update(recorder.data_bytes - bar.n)
    finally:
        executor.shutdown()


def _recover(args: argparse.Namespace) -> int:
    count = recover(args.bag, args.new_bag, overwrite=args.overwrite)
    print(f"{args.new_bag}: {count} messages saved")
    return 0


_PROGRESS = "{l_bar}{bar}| {n:.1f}/{total:.1f} s [{elapsed}<{remaining}]"


class _Interruption(threading.Event):
    """Set by Control-C; tells one listener."""

    def __init__(self) -> None:
        super().__init__()
        self._listener: Any = None

    def on_set(self, listener: Any) -> None:
        self._listener = listener

    def set(self) -> None:
        super().set()
        if self._listener is not None:
            self._listener()


@contextmanager
def _until_interrupted() -> Iterator[_Interruption]:
    """Control-C and SIGTERM end the work cleanly instead of tearing it."""
    interruption = _Interruption()
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: interruption.set()) for number in signals}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _node(name: str, *, use_sim_time: bool = False) -> Iterator[Any]:
    """A node in a context of its own; signals are left to the command."""
    import rclpy
    from rclpy.parameter import Parameter
    from rclpy.signals import SignalHandlerOptions

    from fourd_ros.nodes.transport import use_large_messages

    use_large_messages()
    context = rclpy.Context()
    rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    overrides = [Parameter("use_sim_time", value=use_sim_time)]
    node = rclpy.create_node(name, context=context, parameter_overrides=overrides)
    try:
        yield node
    finally:
        node.destroy_node()
        context.shutdown()


def format_summary(summary: BagSummary) -> str:
    """The tables of ``fourd bag info``."""
    size = summary.file_bytes / MEGABYTE
    lines = [
        f"{summary.path}: {summary.duration:.3f} s, {summary.message_count} messages, {size:.2f} MB, "
        f"from {summary.start_ns / 1e9:.3f}",
        "",
    ]
    rows: list[tuple[str, ...]] = [("topic", "type", "count", "Hz", "longest gap", "QoS")]
    for topic in summary.topics:
        qos = " ".join(word for word in (topic.reliability, topic.durability) if word) or "not recorded"
        rows.append(
            (
                topic.name,
                topic.typename.replace("/msg/", "/"),
                str(topic.count),
                f"{topic.rate:.1f}" if topic.rate else "-",
                f"{topic.longest_gap:.3f} s" if topic.count > 1 else "-",
                qos + (" (latched)" if topic.latched else ""),
            )
        )
    lines += [*_table(rows), "", *_input_lines(summary)]
    return "\n".join(lines)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _input_lines(summary: BagSummary) -> list[str]:
    inputs = summary.inputs
    names = [camera.name + ("" if camera.depth else " (no depth)") for camera in inputs.cameras]
    lines = [
        f"cameras:   {', '.join(names) or 'none'}",
        f"commands:  {inputs.command or 'none: futures would be conditioned on measured joints'}",
    ]
    lines += [f"image not used: {old}; as a camera: --remap {old}:={new}" for old, new in inputs.unused_images.items()]
    if inputs.missing:
        return [*lines, "world model: lacks", *(f"  - {item}" for item in inputs.missing)]
    return [*lines, f"world model: has all it needs; try: fourd imagine {summary.path}"]
