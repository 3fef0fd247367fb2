# SPDX-License-Identifier: Apache-2.0
"""Decodes the images named on standard input to JSON, as `crit decode` does, and encodes them again in their places, as `crit encode` does."""
import json
import sys

import pycriu

bad = 0
for path in sys.stdin.read().split("\n"):
    if not path:
        continue
    try:
        with open(path, "rb") as f:
            text = json.dumps(pycriu.images.load(f, pretty=True), indent=4)
        with open(path, "wb") as f:
            pycriu.images.dump(json.loads(text), f)
    except Exception as e:  # whatever pycriu says about it
        print(f"{path}: {type(e).__name__}: {e}")
        bad = 1
sys.exit(bad)
