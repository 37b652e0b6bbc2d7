"""The published weights of the shift-tolerant LPIPS over AlexNet, for ``fourd convert lpips``."""

from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.conversion_rules import Converter, Drop, Network, Rule

_LAYERS = (r"slice1\.0", r"slice2\.5", r"slice3\.9", r"slice4\.11", r"slice5\.13")
_CONVOLUTIONS = ("stages.0.0", "stages.1.2", "stages.2.2", "stages.3.0", "stages.4.0")

LICENCE = """\
BSD 2-Clause License

Copyright (c) 2022, Abhijay Ghildyal, Feng Liu
All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""

CARD = ModelCard(
    name="lpips_alex",
    system="lpips",
    purpose="Perceptual distance of two images that a shift by a pixel hardly changes: features of an AlexNet with "
    "blurred sub-sampling, weighted as people judged. Evaluations use it on imagined frames.",
    licence="BSD-2-Clause",
    upstream_terms=(
        "Weights of stlpips-pytorch 0.0.2 (github.com/abhijay9/ShiftTolerant-LPIPS): BSD-2-Clause by its licence file, "
        "which is LICENSE.txt here; its package metadata also says MIT.",
        "Its authors trained them from scratch on the judgements of BAPPS (github.com/richzhang/PerceptualSimilarity, "
        "BSD-2-Clause); the architecture is torchvision's AlexNet (BSD-3-Clause), whose weights are not in it.",
    ),
    data="BAPPS: pairs of 64 x 64 patches with distortions, and which of two people found closer to the original. "
    "A. Ghildyal and F. Liu, Shift-tolerant Perceptual Similarity Metric, ECCV 2022.",
    limits="Values compare with each other, not with those of the original LPIPS. Images need at least 21 pixels a "
    "side. Weights stored as float16 change distances by less than 0.0001 (test/test_perceptual.py).",
)

CONVERTER = Converter(
    system="lpips",
    summary="shift-tolerant LPIPS, SRC is alex_shift_tolerant.pth of the wheel stlpips-pytorch",
    model_class="Lpips",
    networks=lambda _: {"network": Network(class_name="ShiftTolerantLpips")},
    rules=(
        *(
            Rule("network", rf"net\.{layer}\.(weight|bias)", rf"{convolution}.\1")
            for layer, convolution in zip(_LAYERS, _CONVOLUTIONS, strict=True)
        ),
        Rule("network", r"lin(\d)\.model\.1\.weight", r"weights.\1", transform=lambda weight: weight.flatten()),
        Drop(r"net\.slice\d\.\d\.filt", "the blur is part of the architecture"),
        Drop(r"scaling_layer\.(shift|scale)", "mean and deviation are part of the architecture"),
    ),
    card=CARD,
    documents={"LICENSE.txt": LICENCE},
)
