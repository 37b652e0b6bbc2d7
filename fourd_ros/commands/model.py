"""``fourd model``: look into, check, list, adopt and join model folders."""

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

from fourd_ros.commands import model_join
from fourd_ros.evaluation.table import Table
from fourd_ros.model_io.card import ModelCard, metrics_rows
from fourd_ros.model_io.folder import ModelFolder, adopt_model, find_model, shipped_model, shipped_names
from fourd_ros.model_io.weights import SUFFIX

EXAMPLES = [
    "fourd model list",
    "fourd model info depth_completion",
    "fourd model info out/my_model --json | jq .components",
    "fourd model check out/my_model",
    "fourd model join --dynamics out/points/model --generator out/compact/model out/world_model_compact",
    "fourd model adopt Wan2.1 --system kinema4d --licence Apache-2.0 --purpose 'image to video'",
]

MEGABYTE = 1e6
WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verbs of ``fourd model``."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    info = verbs.add_parser("info", help="card, components, parameters and sizes; nothing is loaded")
    check = verbs.add_parser("check", help="is every file the one that was written; what does the licence allow")
    shipped = verbs.add_parser("list", help="models that come with the package")
    adopt = verbs.add_parser("adopt", help="give a folder in diffusers' layout, such as a download, its card")
    for one in (info, check):
        one.add_argument("model", help="model folder, or name of a shipped model")
    for one in (info, check, shipped):
        one.add_argument("--json", action="store_true", help="for scripts")
    join = verbs.add_parser("join", help="the parts of the compact world model in one folder, with its trust score")
    _add_card(adopt)
    model_join.add_arguments(join)
    info.set_defaults(run_verb=_info)
    check.set_defaults(run_verb=_check)
    shipped.set_defaults(run_verb=_list)
    adopt.set_defaults(run_verb=_adopt)
    join.set_defaults(run_verb=model_join.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen verb."""
    return int(args.run_verb(args))


def _add_card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="folder with a model_index.json")
    parser.add_argument("--name", default="", help="of the model (default: that of the folder)")
    parser.add_argument("--system", required=True, help="what it belongs to")
    parser.add_argument("--purpose", required=True, help="what it does, in a sentence")
    parser.add_argument("--licence", required=True, help="SPDX identifier, or the name of its terms")
    parser.add_argument("--non-commercial", action="store_true", help="its terms forbid commercial use")
    parser.add_argument("--upstream-terms", nargs="+", default=[], metavar="LINE", help="terms that it inherits")
    parser.add_argument("--overwrite", action="store_true", help="replace the card that is there")


def _info(args: argparse.Namespace) -> int:
    folder = _open(args.model)
    components = [_component_facts(folder, name) for name in folder.components]
    facts: dict[str, Any] = {
        "path": str(folder.path),
        "model_class": folder.model_class,
        **_card_facts(folder.card),
        "sha256": folder.sha256,
        "components": components,
    }
    print(json.dumps(facts, indent=1) if args.json else _in_words(folder, components))
    return 0


def _check(args: argparse.Namespace) -> int:
    folder = _open(args.model)
    problems = folder.problems()
    if args.json:
        report = {"path": str(folder.path), "ok": not problems, "problems": problems, **_card_facts(folder.card)}
        print(json.dumps(report, indent=1))
    else:
        files = folder.card.files
        whole = f"{len(files)} files, {_megabytes(_size(folder.card))}: as they were written"
        print("\n".join(problems or [whole]))
        print(_licence(folder.card))
    return 1 if problems else 0


def _list(args: argparse.Namespace) -> int:
    cards = {name: ModelFolder(shipped_model(name)).card for name in shipped_names()}
    if args.json:
        print(json.dumps([_card_facts(card) | {"path": str(shipped_model(name))} for name, card in cards.items()]))
        return 0
    for name, card in cards.items():
        print(f"{name} ({_megabytes(_size(card))}, {card.licence})")
        print(textwrap.fill(card.purpose, WIDTH, initial_indent="  ", subsequent_indent="  "))
    return 0


def _adopt(args: argparse.Namespace) -> int:
    card = ModelCard(
        name=args.name or args.model.resolve().name,
        system=args.system,
        purpose=args.purpose,
        licence=args.licence,
        non_commercial=args.non_commercial,
        upstream_terms=tuple(args.upstream_terms),
    )
    adopted = adopt_model(args.model, card, overwrite=args.overwrite)
    print(f"{adopted.path}: {len(adopted.card.files)} files; {_licence(adopted.card)}")
    return 0


def _open(model: str) -> ModelFolder:
    return ModelFolder(find_model(model))


def _card_facts(card: ModelCard) -> dict[str, Any]:
    """The card as JSON has it, its files as their size."""
    names = ("name", "system", "purpose", "data", "limits", "licence", "non_commercial", "upstream_terms", "metrics")
    return {name: getattr(card, name) for name in names} | {"bytes": _size(card)}


def _component_facts(folder: ModelFolder, name: str) -> dict[str, Any]:
    library, class_name = folder.components[name]
    facts: dict[str, Any] = {"name": name, "library": library, "class": class_name}
    if any(path.suffix == SUFFIX for path in folder.component(name).iterdir()):
        weights = folder.weights(name)
        facts |= {
            "parameters": weights.element_count,
            "types": sorted({weights.dtype(tensor) for tensor in weights.names}),
            "bytes": weights.byte_count,
        }
    return facts


def _in_words(folder: ModelFolder, components: list[dict[str, Any]]) -> str:
    card = folder.card
    head = [f"{card.name} ({folder.model_class} of {card.system})", card.purpose, _licence(card)]
    parts = ["\n".join(head), str(_components_table(components))]
    if card.metrics:
        columns, *rows = metrics_rows(card)
        parts.append(str(Table(title="held-out metrics", columns=columns, rows=tuple(rows))))
    parts += [f"{title}: {text}" for title, text in (("data", card.data), ("limits", card.limits)) if text]
    return "\n\n".join([*parts, f"sha256: {folder.sha256}"])


def _components_table(components: list[dict[str, Any]]) -> Table:
    rows = tuple(
        (
            facts["name"],
            f"{facts['library']}.{facts['class']}",
            f"{facts['parameters']:,}" if "parameters" in facts else "",
            " ".join(facts.get("types", ())),
            _megabytes(facts["bytes"]) if "bytes" in facts else "",
        )
        for facts in components
    )
    return Table(title="components", columns=("name", "class", "parameters", "type", "size"), rows=rows)


def _licence(card: ModelCard) -> str:
    use = (
        "not for commercial use: loads only with allow_noncommercial"
        if card.non_commercial
        else "commercial use allowed"
    )
    return "\n  ".join([f"licence {card.licence} ({use})", *card.upstream_terms])


def _size(card: ModelCard) -> int:
    return sum(record.size for record in card.files.values())


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:,.1f} MB"
