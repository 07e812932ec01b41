"""The options that several verbs have, each with one name, one meaning and one help text."""

from pathlib import Path
from typing import Annotated

import typer

from tfcli.errors import RecipeError

RUN_FOLDER_HELP = r"The run folder.  \[default: runs/NAME]"
DATA_ROOT_HELP = "Folder that data paths start from, before TFCLI_DATA and data.root."
DEVICE_HELP = r"auto, cpu, cuda, cuda:1 or mps.  \[default: auto]"
PRECISION_HELP = r"auto, fp32, bf16 or, to translate, int8.  \[default: the recipe's]"
ENGINE_HELP = r"auto, torch or ctranslate2.  \[default: auto, the fastest]"
HARDWARE_PANEL = "Hardware"
INPUT_PANEL = "Input"
OUTPUT_PANEL = "Output"
PRECISIONS = ("auto", "fp32", "bf16")
TRANSLATION_PRECISIONS = (*PRECISIONS, "int8")

RecipeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RECIPE", help="A recipe's file, the name of one that comes with tfcli, or a run folder."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key, as in training.max_steps=8000; may be given again.",
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", help=RUN_FOLDER_HELP)]
DataRootOption = Annotated[Path | None, typer.Option("--data-root", help=DATA_ROOT_HELP)]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help=DEVICE_HELP, rich_help_panel=HARDWARE_PANEL)
]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help=PRECISION_HELP, rich_help_panel=HARDWARE_PANEL)
]
EngineOption = Annotated[
    str | None, typer.Option("--engine", help=ENGINE_HELP, rich_help_panel=HARDWARE_PANEL)
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=OUTPUT_PANEL)
]

ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE|DIR",
        help=r"Where results go.  \[default: standard output]",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
SuffixOption = Annotated[
    str | None,
    typer.Option(
        "--suffix",
        metavar=".SUFFIX",
        help="Replace the suffix of inputs: .out makes in.out of in.txt.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Write over outputs that exist.", rich_help_panel=OUTPUT_PANEL)
]
JsonLinesOption = Annotated[
    bool, typer.Option("--json", help="Short for --format jsonl.", rich_help_panel=OUTPUT_PANEL)
]


def refuse_unknown_precision(name: str, known: tuple[str, ...] = PRECISIONS) -> None:
    """Raise an error in the words of the command line, before a recipe's key is blamed.

    Raises: RecipeError.
    """
    if name not in known:
        raise RecipeError(f"--precision {name}: unknown", f"use {', '.join(known[:-1])} or {known[-1]}")
