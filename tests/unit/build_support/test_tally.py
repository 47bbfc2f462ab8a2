"""The line that closes a test run."""

from pathlib import Path

from tally import tally

REPORT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure/></testcase><testcase name="c"><error/></testcase>
<testcase name="d"><skipped/></testcase><testcase name="e"><system-out>words</system-out></testcase>
</testsuite></testsuites>"""


def test_every_outcome_of_every_report_is_counted(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(REPORT)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "two.xml").write_text(REPORT)
    assert tally(tmp_path) == {"passed": 4, "failed": 4, "skipped": 2}
