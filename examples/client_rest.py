"""Asks a running app over REST: python examples/client_rest.py ADDRESS IMAGE [IMAGE...]"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

address, *images = sys.argv[1:]
with ExitStack() as stack:
    files = [("image", (Path(path).name, stack.enter_context(open(path, "rb")))) for path in images]
    response = httpx.post(f"{address}/predict", files=files, timeout=120)
answers = response.json()
for answer in answers if isinstance(answers, list) else [answers]:
    print(json.dumps(answer))
sys.exit(0 if response.is_success else 1)
