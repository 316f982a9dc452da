"""Files between the dry run and the import: whose they are, how long they are kept, what remains of them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from service import errors
from service.ledger.importing import Report
from service.ledger.staging import KEPT_S, Outcome, Staging


def test_what_was_put_is_what_is_got(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    staged = staging.put(b"\x00rows", "台账.csv", "GCJ-02", "wang")
    again = Staging(tmp_path).get(staged.token, "wang")
    assert (again.file_name, again.crs, again.written, staging.data(again)) == ("台账.csv", "GCJ-02", None, b"\x00rows")


@pytest.mark.parametrize("token", ["", "0" * 32, "../../etc", "0" * 31 + "/"])
def test_what_was_not_put_is_not_there(tmp_path: Path, token: str) -> None:
    with pytest.raises(errors.ImportNotFound):
        Staging(tmp_path).get(token, "wang")


def test_a_file_is_for_the_one_who_brought_it(tmp_path: Path) -> None:
    staged = Staging(tmp_path).put(b"rows", "a.csv", "WGS-84", "wang")
    with pytest.raises(errors.ImportNotFound):
        Staging(tmp_path).get(staged.token, "li")


def test_after_the_import_only_what_became_of_it_is_kept(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    staged = staging.put(b"rows", "a.csv", "WGS-84", "wang")
    staging.done(staged, Report(True, ("A", "B"), ("C",), (), (7,)))
    found = staging.get(staged.token, "wang")
    assert found.written == Outcome(2, 1, 0, 1)
    with pytest.raises(errors.ImportNotFound):
        staging.data(found)


def test_old_files_go_when_a_new_one_comes(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    old, young = (staging.put(b"rows", name, "WGS-84", "wang") for name in ("old.csv", "young.csv"))
    before = time.time() - KEPT_S - 60
    os.utime(tmp_path / "ledger_imports" / old.token, (before, before))
    staging.put(b"rows", "new.csv", "WGS-84", "wang")
    staging.get(young.token, "wang")
    with pytest.raises(errors.ImportNotFound):
        staging.get(old.token, "wang")
