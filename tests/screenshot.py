"""Take the picture of a report that stands in docs/eval.md: of the embedded corpus, and a run stopped early.

tfcli train demo --set training.max_steps=300 --out runs/demo
tfcli eval runs/demo --beam-size 1 --out greedy
tfcli eval runs/demo --baseline greedy --report report.html
python -m tests.screenshot report.html docs/images/report.png
"""

import argparse
import io
from pathlib import Path

from PIL import Image

from tests.browser import CHROMIUM, DRIVER, MISSING, chromium

COLOURS = 64  # as many as text on plain paper needs; a palette makes the file small


def main() -> None:
    """Open the page and write what it looks like."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--from", dest="top", type=int, default=0)
    parser.add_argument("--height", type=int, default=1500)
    asked = parser.parse_args()
    if CHROMIUM is None or DRIVER is None:
        raise SystemExit(MISSING)
    with chromium() as browser:
        browser.show(asked.width, 900, dark=asked.dark)
        browser.open(asked.page)
        content = browser.picture(asked.top, asked.width, asked.height)
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(asked.picture, optimize=True)


if __name__ == "__main__":
    main()
