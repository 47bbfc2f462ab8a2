"""Adds up the test reports that Pants wrote below dist/test-reports and prints one line.

build-support/tally.py FOLDER
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET


def tally(folder: Path) -> Counter[str]:
    """Passed, failed and skipped tests of every JUnit report below a folder. An error counts as failed."""
    counts: Counter[str] = Counter(passed=0, failed=0, skipped=0)
    for report in sorted(folder.rglob("*.xml")):
        for case in ET.parse(report).iter("testcase"):  # noqa: S314  written by our own test run
            outcomes = {child.tag for child in case}
            if outcomes & {"failure", "error"}:
                counts["failed"] += 1
            elif "skipped" in outcomes:
                counts["skipped"] += 1
            else:
                counts["passed"] += 1
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    counts = tally(parser.parse_args().folder)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
