"""Checkpoints are read as they must be."""

from typing import Any

from fourd_ros.compositional.checkpoints import image_weights
from fourd_ros.compositional.flow import TRAIN_STEPS
from fourd_ros.compositional.sizes import TransformerSizes
from fourd_ros.compositional.transformer import CompositionalTransformer, table_names
from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.weight_views import GivenWeights
from fourd_ros.verify.checks import check
from fourd_ros.verify.com4d_folder import (
    BASE,
    COM4D,
    SYSTEM,
    as_numpy,
    image_encoder,
    shape_vae,
    tensors_of,
    transformer,
)
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

EXACT = Tolerance()


@check(SYSTEM, f"{COM4D}/*.safetensors")
def transformer_weights(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Every weight of the transformer is in the network as it is stored."""
    _held(transformer(folder), vectors, compare)


@check(SYSTEM, f"{BASE}/vae/*.safetensors")
def vae_weights(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """So is every one of the autoencoder."""
    _held(shape_vae(folder), vectors, compare)


@check(SYSTEM, f"{BASE}/image_encoder_dinov2/*.safetensors")
def image_encoder_weights(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """And of the image encoder, under the names that it has there."""
    network = image_encoder(folder).network
    path = folder.path(compare.file)
    named = image_weights(GivenWeights(tensors_of(vectors), path), network)
    _held(network, {name: as_numpy(named.read(name)) for name in named.names}, compare)


@check(SYSTEM, f"{COM4D}/triposg_style_transformer_config.json")
def plain_config(folder: VectorFolder, config: Any, compare: Comparison) -> None:
    """A configuration of TripoSG's transformer: what it leaves out is as published, and the tables come on top."""
    sizes = TransformerSizes.from_config(config)
    given = {name: value for name, value in config.items() if not name.startswith("_")}
    wanted = TransformerSizes().config | given
    for name, value in sizes.config.items():
        compare(name, [float(value == wanted[name])], expected=[1.0], tolerance=EXACT)
    with parameters_on_meta():
        names = set(CompositionalTransformer(sizes).state_dict())
    tables = {f"{name}.weight" for name in table_names(sizes)}
    compare(
        "weights beyond TripoSG's", [float(tables == names - _without_tables(sizes))], expected=[1.0], tolerance=EXACT
    )


@check(SYSTEM, f"{BASE}/scheduler/scheduler_config.json")
def scheduler(folder: VectorFolder, config: Any, compare: Comparison) -> None:
    """The flow is the one that is implemented."""
    compare("num_train_timesteps", config["num_train_timesteps"], expected=TRAIN_STEPS, tolerance=EXACT)
    compare("use_dynamic_shifting", config["use_dynamic_shifting"], expected=False, tolerance=EXACT)


def _without_tables(sizes: TransformerSizes) -> set[str]:
    off = {f"enable_{name}": False for name in table_names(sizes)}
    with parameters_on_meta():
        return set(CompositionalTransformer.from_config(sizes.config | off).state_dict())


def _held(network: Any, vectors: Tensors, compare: Comparison) -> None:
    state = network.state_dict()
    for name in vectors:
        compare(name, as_numpy(state[name]), expected=vectors[name], tolerance=EXACT)
