"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.config import BadInput
from reward.zygote_process import PACKAGES


def runs_folder(given: str | Path) -> Path:
    """What `--runs` names. Raises BadInput for an address."""
    if "://" in str(given):
        raise BadInput(f"--runs {given}: runs are kept in a folder; for a store elsewhere, one of a mounted file system")
    return Path(given)


ConfigFile = Annotated[Path, typer.Argument(help="YAML configuration, for example configs/demo.yaml.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Settings to change: key.path=value.")]
Runs = Annotated[Path, typer.Option("--runs", parser=runs_folder, metavar="FOLDER", help="Folder that holds the runs.")]
Address = Annotated[
    str | None, typer.Option("--address", help="URL of the cluster's dashboard: http://HOST:8265; RAY_ADDRESS else.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Packages = Annotated[str, typer.Option("--packages", help="What programs may import, separated by commas: numpy.")]


def named_packages(packages: str) -> list[str]:
    """The packages in a list of names.

    Raises:
        BadInput: one is none that programs may use.
    """
    names = [name.strip() for name in packages.split(",") if name.strip()]
    for name in names:
        if name not in PACKAGES:
            raise BadInput(f"--packages {name}: none of those programs may use: {', '.join(PACKAGES)}")
    return names
