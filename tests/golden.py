"""Writes golden.json, the scores that the bundled checkpoint gives the example images: `python tests/golden.py`."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fakedet import Detector  # noqa: E402

if __name__ == "__main__":
    detector, rows = Detector.from_pretrained(), {}
    for path in sorted((ROOT / "examples" / "images").iterdir()):
        verdict = detector.predict(path)
        rows[path.name] = {"p_fake": round(verdict.p_fake, 6), "verdict": verdict.verdict}
        print(f"{path.name}: {verdict.headline}")
    (ROOT / "tests" / "golden.json").write_text(json.dumps(rows, indent=1) + "\n")
