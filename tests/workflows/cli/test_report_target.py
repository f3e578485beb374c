"""``ionsieve report -o`` overwrites nothing but a report."""

import pytest

from ionsieve.errors import InputError
from ionsieve.workflows.cli.report import _check_target


@pytest.mark.parametrize("name", ["screening.yaml", "mother.cif", "results.sqlite", "old.html"])
def test_what_is_no_report_stays(tmp_path, name):
    path = tmp_path / name
    path.write_text("# what it is")
    with pytest.raises(InputError, match="exists and is no report; give another name"):
        _check_target(path)


def test_a_report_is_written_anew(tmp_path):
    path = tmp_path / "report.html"
    _check_target(path)
    for text in ("", "\n\n<!DOCTYPE html>\n<html>"):
        path.write_text(text)
        _check_target(path)


def test_folders(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        _check_target(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        _check_target(tmp_path / "none" / "report.html")
