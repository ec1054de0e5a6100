"""Copy GraphiQL's assets from node_modules to the folder that the gateway serves and the wheel contains."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
TARGET = ROOT / "proxy" / "graphql" / "assets"
FILES = (
    "react/umd/react.production.min.js",
    "react-dom/umd/react-dom.production.min.js",
    "graphiql/graphiql.min.js",
    "graphiql/graphiql.min.css",
)


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        source = MODULES / name
        shutil.copyfile(source, TARGET / source.name)
    for package in ("react", "react-dom", "graphiql"):
        shutil.copyfile(MODULES / package / "LICENSE", TARGET / f"{package}.LICENSE")


if __name__ == "__main__":
    main()
