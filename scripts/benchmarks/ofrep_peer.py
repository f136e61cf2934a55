"""fast-feature with given flags, run by ofrep.py in the peers' own Python: python ofrep_peer.py PORT FLAGS.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import uvicorn
from fast_feature.core import Flag
from fast_feature.ofrep import OfrepRouter
from fast_feature.storage.inmemory import InMemoryFlagRepository
from fastapi import FastAPI


def main() -> None:
    """Serve until killed, as its own command does, but for access logs, which cost it time."""
    port, file = sys.argv[1:]
    declared = json.loads(Path(file).read_text(encoding="utf-8"))
    flags = [
        Flag(key, flag["variants"], flag["defaultVariant"], targeting=flag.get("targeting"))
        for key, flag in declared.items()
    ]
    app = FastAPI(title="fast-feature")
    app.include_router(OfrepRouter.build(InMemoryFlagRepository(flags)))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
