"""Published checkpoints of RAFT, for ``fourd convert raft``."""

from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule

COMPONENT = "network"

CONVERTER = Converter(
    system="raft",
    summary="RAFT for optical flow, SRC is raft-things.pth or a sibling (not raft-small.pth)",
    model_class="Raft",
    networks=lambda _: {COMPONENT: Network(class_name="RaftNetwork")},
    rules=(
        Drop(r"[fc]net\.layer\d\.\d\.norm3\..+", "the same weights as downsample.1"),
        Rule(COMPONENT, r"(.+)", r"\1"),
    ),
    card=ModelCard(
        name="raft",
        system="raft",
        purpose="Optical flow between two frames.",
        licence="terms of the checkpoint that was converted",
        non_commercial=True,
        upstream_terms=(
            "RAFT (github.com/princeton-vl/RAFT): the code is BSD-3-Clause; nothing is said about the weights.",
            "FlyingThings3D, which raft-things.pth was trained on: for research only, by the terms of its authors.",
        ),
        data="FlyingChairs, then FlyingThings3D, for raft-things.pth; others were trained further on other data. "
        "Z. Teed and J. Deng, ECCV 2020 (arXiv 2003.12039).",
        limits="Two frames at a time; pictures up to about 1280 x 720.",
    ),
    wrappers=("module.",),
)
