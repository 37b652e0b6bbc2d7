#!/bin/sh
# Everything that the shipped compact world model is made of: about 4 hours on two CPU cores, and 13 GB in out/.
# Each line goes on where it was stopped.
set -e
fourd data tabletop out/tabletop/train --split train --seed 1 --episodes 1400
fourd data tabletop out/tabletop/points --split train --seed 0 --episodes 1500 --no-shadows
fourd data tabletop out/tabletop/points_more --split train --seed 2 --episodes 7000 --no-shadows
fourd data tabletop out/tabletop/validation --split validation --seed 0 --episodes 200
fourd train points --run out/train/points/shipped
# The shipped generator also saw 600 episodes of distribution 1, which this version does not make any more.
fourd train compact --run out/train/compact/shipped
fourd model join models/world_model_compact --overwrite \
    --dynamics out/train/points/shipped/model --generator out/train/compact/shipped/model --recipe "$0"
fourd evaluate world-model --split test,new_shapes,new_cameras,noisy_depth --write-card
