"""`ionsieve hpc-init` as users type it: what it writes, refuses and never shows."""

import json
import os
import stat
import sys

import pytest
import yaml

from ionsieve.workflows.cli import hpc_init, main

PASSWORD = "tr1cky: \"pass'word"


@pytest.fixture
def ionsieve(monkeypatch, capsys):
    monkeypatch.delenv("IONSIEVE_MONGO_PASSWORD", raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ionsieve", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def slurm(folder, *more):
    return ("hpc-init", "slurm", folder, "--set", "mongo_host=db.example.org", *more)


def test_writes_and_checks(ionsieve, tmp_path):
    code, out, err = ionsieve(*slurm(tmp_path / "cluster", "--set", "account=ab12"))
    assert (code, err) == (0, "")
    assert "OK      queue adapter" in out
    values = yaml.safe_load((tmp_path / "cluster/values.yaml").read_text())
    assert values["account"] == "ab12"
    assert values["environment"] == sys.prefix


def test_json(ionsieve, tmp_path):
    code, out, err = ionsieve(*slurm(tmp_path / "cluster", "--json"))
    assert (code, err) == (0, "")
    printed = json.loads(out)
    assert printed["ok"]
    assert printed["folder"] == str(tmp_path / "cluster")
    assert set(printed["files"]) == set(os.listdir(tmp_path / "cluster"))
    assert {row["outcome"] for row in printed["checks"]} == {"OK"}


def test_list(ionsieve):
    code, out, _ = ionsieve("hpc-init", "fujitsu_pjm", "--list", "--json")
    assert code == 0
    listed = json.loads(out)
    assert {name for name, value in listed.items() if value["required"]} == {
        "environment",
        "account",
        "mongo_host",
    }
    assert listed["ranks_per_node"]["default"] == "48"
    assert listed["login_environment"]["default"] == sys.prefix
    code, out, _ = ionsieve("hpc-init", "fujitsu_pjm", "--list")
    assert code == 0
    assert "must be given" in out


def test_values_file_and_set(ionsieve, tmp_path):
    # Without quotes YAML 1.1 reads such a wall time as a number in base sixty.
    (tmp_path / "values.yaml").write_text(
        "mongo_host: a.example.org\nwalltime: 06:30:00\nmongo_tls: true\naccount:\n"
    )
    arguments = ("--values", tmp_path / "values.yaml", "--set", "mongo_host=b.example.org")
    code, _, err = ionsieve("hpc-init", "slurm", tmp_path / "cluster", *arguments)
    assert (code, err) == (0, "")
    launchpad = yaml.safe_load((tmp_path / "cluster/my_launchpad.yaml").read_text())
    assert launchpad["host"] == "b.example.org"
    assert launchpad["mongoclient_kwargs"] == {"tls": True}
    assert yaml.safe_load((tmp_path / "cluster/my_qadapter.yaml").read_text())["walltime"] == (
        "06:30:00"
    )
    # What was filled in can be read again, for example after the folder was moved.
    again = ("--values", tmp_path / "cluster/values.yaml")
    code, _, _ = ionsieve("hpc-init", "slurm", tmp_path / "again", *again)
    assert code == 0
    for name in ("values.yaml", "atomate2.yaml"):
        texts = {(tmp_path / folder / name).read_text() for folder in ("cluster", "again")}
        assert len(texts) == 1


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_secret_files_are_for_their_owner_from_the_start(ionsieve, tmp_path, monkeypatch, umask):
    monkeypatch.setenv("IONSIEVE_MONGO_PASSWORD", PASSWORD)
    created = {}
    real_open = os.open

    def spy(path, flags, mode=0o777, **options):
        descriptor = real_open(path, flags, mode, **options)
        created[os.path.basename(path)] = stat.S_IMODE(os.fstat(descriptor).st_mode)
        return descriptor

    before = os.umask(umask)
    try:
        monkeypatch.setattr(os, "open", spy)
        code, out, err = ionsieve(*slurm(tmp_path / "cluster", "--set", "mongo_user=me"))
    finally:
        os.umask(before)
    assert (code, err) == (0, "")
    assert PASSWORD not in out
    for name in ("my_launchpad.yaml", "jobflow.yaml"):
        path = tmp_path / "cluster" / name
        assert stat.S_IMODE(path.stat().st_mode) == created[name] == 0o600
    launchpad = yaml.safe_load((tmp_path / "cluster/my_launchpad.yaml").read_text())
    assert (launchpad["username"], launchpad["password"]) == ("me", PASSWORD)


def test_password_never_shows(ionsieve, tmp_path, monkeypatch):
    monkeypatch.setenv("IONSIEVE_MONGO_PASSWORD", PASSWORD)
    code, out, err = ionsieve(*slurm(tmp_path / "cluster", "--set", "mongo_user=me", "--json"))
    assert code == 0
    json.loads(out)
    assert "tr1cky" not in out + err


def test_password_is_asked_for_in_a_terminal(ionsieve, tmp_path, monkeypatch):
    asked = {}

    def prompt(text, **options):
        asked.update(options, text=text)
        return PASSWORD

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(hpc_init.click, "prompt", prompt)
    code, _, _ = ionsieve(*slurm(tmp_path / "cluster", "--set", "mongo_user=me"))
    assert code == 0
    assert asked["hide_input"]
    stored = yaml.safe_load((tmp_path / "cluster/jobflow.yaml").read_text())["JOB_STORE"]
    assert stored["docs_store"]["password"] == PASSWORD


def test_no_password_without_a_user(ionsieve, tmp_path, monkeypatch):
    monkeypatch.setenv("IONSIEVE_MONGO_PASSWORD", PASSWORD)
    assert ionsieve(*slurm(tmp_path / "cluster"))[0] == 0
    assert yaml.safe_load((tmp_path / "cluster/my_launchpad.yaml").read_text())["password"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("slurmm", "DIR"), ["slurmm", "fujitsu_pjm, grid_engine, laptop, pbs_pro, slurm"]),
        (("../x", "DIR"), ["../x", "known"]),
        (("slurm",), ["name the folder"]),
        (("slurm", "DIR"), ["mongo_host", "--set mongo_host="]),
        (("fujitsu_pjm", "DIR"), ["environment", "account", "mongo_host"]),
        (("slurm", "DIR", "--set", "mongo_host="), ["mongo_host"]),
        (("slurm", "DIR", "--set", "payer=x"), ["payer", "account"]),
        (("slurm", "DIR", "--set", "account"), ["--set", "account=ab12"]),
        (("laptop", "DIR", "--set", "nodes=-1"), ["nodes", "-1", "whole number"]),
        (("laptop", "DIR", "--set", "nodes=0"), ["nodes", "from 1 to"]),
        (("laptop", "DIR", "--set", "mongo_port=70000"), ["mongo_port", "70000", "65535"]),
        (("laptop", "DIR", "--set", "walltime=12h"), ["walltime", "12h", "12:00:00"]),
        (("laptop", "DIR", "--set", "environment=venv"), ["environment", "venv", "absolute"]),
        (("laptop", "DIR", "--set", "queue=a b"), ["queue", "blanks"]),
        (("laptop", "DIR", "--set", "queue=a\nb"), ["queue", "line breaks"]),
        (("laptop", "DIR", "--set", "mongo_user=me"), ["mongo_user", "IONSIEVE_MONGO_PASSWORD"]),
        (("laptop", "DIR", "--values", "missing.yaml"), ["missing.yaml", "No such file"]),
        (("laptop", "DIR", "--values", "list.yaml"), ["list.yaml", "expected"]),
        (("laptop", "DIR", "--values", "broken.yaml"), ["broken.yaml", "YAML"]),
        (("laptop", "DIR", "--values", "secret.yaml"), ["IONSIEVE_MONGO_PASSWORD"]),
        (("laptop", "DIR", "--set", "password=tr1cky"), ["IONSIEVE_MONGO_PASSWORD"]),
        (("laptop", "DIR", "--set", "mongo_password=tr1cky"), ["IONSIEVE_MONGO_PASSWORD"]),
        (("laptop", "DIR", "--set", "mongo_host=mongodb://me:tr1cky@h"), ["host's name only"]),
        (("laptop", "used"), ["used is not empty", "--force"]),
        (("laptop", "used/file"), ["used/file is a file"]),
        (("laptop", "used/file/x"), ["used/file/x"]),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    ionsieve, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").touch()
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    (tmp_path / "secret.yaml").write_text("password: tr1cky\n")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = ionsieve("hpc-init", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert "tr1cky" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_force_overwrites_what_it_wrote_and_nothing_else(ionsieve, tmp_path):
    folder = tmp_path / "cluster"
    assert ionsieve(*slurm(folder))[0] == 0
    (folder / "notes.txt").write_text("mine")
    (folder / "my_launchpad.yaml").chmod(0o644)
    assert ionsieve(*slurm(folder, "--set", "queue=main"))[0] == 2
    assert ionsieve(*slurm(folder, "--set", "queue=main", "--force"))[0] == 0
    assert yaml.safe_load((folder / "values.yaml").read_text())["queue"] == "main"
    assert (folder / "notes.txt").read_text() == "mine"
    assert stat.S_IMODE((folder / "my_launchpad.yaml").stat().st_mode) == 0o600


def test_a_failure_in_between_leaves_nothing_behind(ionsieve, tmp_path, monkeypatch):
    count = 0

    def fail(descriptor):
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    code, _, err = ionsieve(*slurm(tmp_path / "cluster"))
    assert code == 2
    assert "the disk is full" in err
    assert list(tmp_path.iterdir()) == []
