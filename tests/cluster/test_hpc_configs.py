"""The templates of every scheduler, filled in and read by the programs they are for."""

import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from atomate2.settings import Atomate2Settings
from fireworks import Firework, FWorker, LaunchPad, ScriptTask
from fireworks.utilities.fw_serializers import load_object, load_object_from_file

from ionsieve.errors import InputError, IonSieveError
from ionsieve.workflows.clusters.folder import render_folder, write_folder
from ionsieve.workflows.clusters.schedulers import (
    check_value,
    find_scheduler,
    resolve_values,
    scheduler_names,
)
from ionsieve.workflows.settings.backend_section import read_backend_section
from ionsieve.workflows.settings.schema import Compute
from ionsieve.workflows.store.configured import ConfiguredJobStore
from mongo_server import MongoServer

EXPECTED = yaml.safe_load((Path(__file__).parent / "data/directives.yaml").read_text())
BATCH = [name for name in EXPECTED if name != "laptop"]
FILES = {
    "FW_config.yaml",
    "README.md",
    "atomate2.yaml",
    "environment.sh",
    "ewald_mpi.sh",
    "jobflow.yaml",
    "my_fworker.yaml",
    "my_launchpad.yaml",
    "scheduler.yaml",
    "screening_sections.yaml",
    "values.yaml",
}
#: As `resources.manager_config` words it.
ASKED = {"nodes": 2, "ntasks": 96, "ntasks_per_node": 48, "walltime": "06:00:00"}
PASSWORD = 'pä"s: \\{{x}}$$y'


def required(found):
    return {name: v.example for name, v in found.scheduler.values.items() if v.default is None}


def filled(name, folder, password="", **changes):
    found = find_scheduler(name)
    given = {**required(found), **changes}
    texts = render_folder(found, resolve_values(found, given), folder, password)
    write_folder(texts, folder)
    return folder


def usual(name, folder, **changes):
    payer = {} if name == "fujitsu_pjm" else {"account": "ab12", "queue": "main"}
    return filled(name, folder, ranks_per_node="48", nodes="4", **payer, **changes)


def directives(script):
    return [line for line in script.splitlines() if re.match(r"#(SBATCH|PBS|\$|PJM) ", line)]


def test_every_scheduler_has_expected_directives():
    assert sorted(EXPECTED) == scheduler_names()


@pytest.mark.parametrize("name", scheduler_names())
def test_defaults_fill_every_file(name, tmp_path):
    # A folder whose name needs quoting in shell and YAML.
    folder = filled(name, tmp_path / "my cluster: 'x'")
    found = {path.name for path in folder.iterdir()}
    expected = FILES | (set() if name == "laptop" else {"my_qadapter.yaml"})
    assert found - {"job_template.txt"} == expected
    for path in folder.iterdir():
        text = path.read_text()
        assert "{%" not in text
        assert "{{" not in text.replace("{{ionsieve.workflows", "")
        if path.suffix == ".yaml":
            assert isinstance(yaml.safe_load(text), dict)
        if path.suffix == ".sh":
            subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("name", scheduler_names())
def test_programs_read_their_files(name, tmp_path):
    folder = filled(name, tmp_path / "cluster", PASSWORD, mongo_user="me", mongo_port="27018")
    launchpad = LaunchPad.from_file(str(folder / "my_launchpad.yaml"))
    assert (launchpad.password, launchpad.port) == (PASSWORD, 27018)
    store = ConfiguredJobStore(folder / "jobflow.yaml")
    for part in (store.docs_store, store.additional_stores["data"]):
        assert (part.username, part.password, part.port) == ("me", PASSWORD, 27018)
    assert FWorker.from_file(str(folder / "my_fworker.yaml")).name == name
    settings = Atomate2Settings(CONFIG_FILE=str(folder / "atomate2.yaml"))
    assert settings.VASP_CMD.endswith(("vasp_std", "ionsieve-mock-vasp"))
    sections = yaml.safe_load((folder / "screening_sections.yaml").read_text())
    compute = Compute(**sections["compute"])
    assert compute.launchpad == str(folder / "my_launchpad.yaml")
    assert compute.mpi_launcher.format(ranks=7).endswith("-n 7")
    assert sections["store"] == str(folder / "jobflow.yaml")
    read_backend_section(sections.get("backend", {}))


@pytest.mark.parametrize("name", scheduler_names())
def test_password_is_in_the_secret_files_only(name, tmp_path):
    folder = filled(name, tmp_path / "cluster", "pa55word", mongo_user="me")
    holding = {path.name for path in folder.iterdir() if "pa55word" in path.read_text()}
    assert holding == {"my_launchpad.yaml", "jobflow.yaml"}
    for path in folder.iterdir():
        mode = path.stat().st_mode & 0o777
        assert mode == 0o600 if path.name in holding else mode & 0o400


@pytest.mark.parametrize("name", BATCH)
def test_fireworks_writes_the_batch_script(name, tmp_path):
    folder = usual(name, tmp_path / "cluster")
    adapter = load_object_from_file(str(folder / "my_qadapter.yaml"))
    # qlaunch makes such a copy of it, names it after the firework, and adds what the stage asks.
    adapter = load_object(adapter.to_dict())
    adapter.update(job_name="relax", **ASKED)
    adapter["rocket_launch"] += " --fw_id 3"
    with warnings.catch_warnings():
        # FireWorks warns of keys that its template lacks.
        warnings.simplefilter("error")
        script = adapter.get_script_str(str(tmp_path / "launcher"))
    assert directives(script) == EXPECTED[name]["job"]
    lines = script.splitlines()
    assert lines[0].startswith("#!/bin/bash")
    start = [
        lines.index(line) for line in (f"source {folder}/environment.sh", f"cd {tmp_path}/launcher")
    ]
    assert start == sorted(start)
    assert "rlaunch singleshot --fw_id 3" in lines
    assert "$$" not in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("name", scheduler_names())
def test_ewald_script(name, tmp_path):
    script = (usual(name, tmp_path / "cluster") / "ewald_mpi.sh").read_text()
    assert directives(script) == EXPECTED[name]["ewald"]
    assert EXPECTED[name]["launch"] in script


@pytest.mark.parametrize("name", [name for name in BATCH if name != "fujitsu_pjm"])
def test_no_account_and_queue_leaves_their_lines_out(name, tmp_path):
    folder = filled(name, tmp_path / "cluster")
    adapter = load_object_from_file(str(folder / "my_qadapter.yaml"))
    for script in (adapter.get_script_str("/launch"), (folder / "ewald_mpi.sh").read_text()):
        unwanted = re.compile(r"#(SBATCH --(account|partition)|PBS -[Aq]|\$ -[Pq])\b")
        assert not [line for line in script.splitlines() if unwanted.match(line)]


def test_start_of_the_wall_time_is_read_by_custodian(tmp_path, monkeypatch):
    import datetime

    from custodian.vasp.handlers import WalltimeHandler

    adapter = load_object_from_file(str(usual("slurm", tmp_path / "c") / "my_qadapter.yaml"))
    (line,) = [line for line in adapter["pre_rocket"].splitlines() if line.startswith("export")]
    done = subprocess.run(
        ["bash", "-c", f"{line}; printenv CUSTODIAN_WALLTIME_START"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
    )
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", done.stdout.strip())
    start = WalltimeHandler(wall_time=100).start_time
    # Custodian compares with the local time of the node.
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    now = datetime.datetime.now(tokyo).replace(tzinfo=None)
    assert abs((now - start).total_seconds()) < 60


def test_who_pays_option_that_ends_with_an_equals_sign(tmp_path):
    folder = usual("pbs_pro", tmp_path / "cluster", account_option="-W group_list=")
    adapter = load_object_from_file(str(folder / "my_qadapter.yaml"))
    assert "#PBS -W group_list=ab12" in adapter.get_script_str("/launch").splitlines()
    assert "#PBS -W group_list=ab12" in (folder / "ewald_mpi.sh").read_text().splitlines()


def test_environment_is_what_a_job_needs(tmp_path):
    folder = filled(
        "slurm", tmp_path / "a cluster", environment="/opt/an env", potcar_dir="/opt/pot cars"
    )
    names = ("FW_CONFIG_FILE", "ATOMATE2_CONFIG_FILE", "PMG_VASP_PSP_DIR", "ATOMATE2_VASP_CMD")
    command = 'source "$0"; printenv ' + " ".join(names) + "; echo $PATH"
    done = subprocess.run(
        ["bash", "-c", command, folder / "environment.sh"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.splitlines() == [
        f"{folder}/FW_config.yaml",
        f"{folder}/atomate2.yaml",
        "/opt/pot cars",
        "srun vasp_std",
        "/opt/an env/bin:/usr/bin:/bin",
    ]


def test_modules_are_loaded_first(tmp_path):
    folder = filled("pbs_pro", tmp_path / "cluster", modules="intel/2024 vasp/6.4.3")
    script = f'module() {{ echo "module $*"; }}; source {folder}/environment.sh'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "module load intel/2024 vasp/6.4.3\n"


def test_fireworks_finds_its_files_by_the_environment(tmp_path):
    folder = filled("laptop", tmp_path / "cluster")
    code = "from fireworks import fw_config as c; print(c.LAUNCHPAD_LOC, c.RUN_EXPIRATION_SECS)"
    command = f"source {folder}/environment.sh && cd / && python -c '{code}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"{folder}/my_launchpad.yaml", "240"]


def test_fugaku_has_an_environment_for_each_architecture(tmp_path):
    folder = filled(
        "fujitsu_pjm", tmp_path / "cluster", environment="/arm", login_environment="/x86"
    )
    for machine, expected in (("aarch64", "/arm/bin"), ("x86_64", "/x86/bin")):
        script = f"uname() {{ echo {machine}; }}; source {folder}/environment.sh; echo $PATH"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split(":")[0] == expected


# The adapter for schedulers that FireWorks does not know, with stand-ins for their commands.

PJSTAT = """\
  ACCEPT QUEUED   HOLD  ERROR   TOTAL
       0      1      0      0       2
s      0      1      0      0       2
JOB_ID     JOB_NAME   MD ST  USER     START_DATE      ELAPSE_LIM NODE_REQUIRE    VNODE  CORE V_MEM
7280061    relax      NM RUN u00000   11/17 09:01:41  0001:00:00 12:2x3x2        -      -    -
7280062    rank_x     NM QUE u00000   (11/18 10:00)   0001:00:00 1               -      -    -
7280060    short      NM EXT u00000   11/17 09:00:00  0001:00:00 1               -      -    -
"""


@pytest.fixture
def pjm(tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")

    def install(name, text):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)

    folder = usual("fujitsu_pjm", tmp_path / "cluster")
    return load_object_from_file(str(folder / "my_qadapter.yaml")), install


def test_described_adapter_submits(pjm, tmp_path):
    adapter, install = pjm
    install("pjsub", f'cp "$1" {tmp_path}/got; echo "[INFO] PJM 0000 pjsub Job 7280061 submitted."')
    (tmp_path / "FW_submit.script").write_text("#!/bin/bash\n")
    assert adapter.submit_to_queue(str(tmp_path / "FW_submit.script")) == "7280061"
    assert (tmp_path / "got").read_text() == "#!/bin/bash\n"


def test_qlaunch_and_rlaunch_with_a_described_adapter(pjm, tmp_path):
    """The whole way of a job through FireWorks, with a pjsub that runs it at once."""
    _, install = pjm
    with MongoServer("me", PASSWORD) as server:
        settings = {"mongo_port": str(server.port), "mongo_user": "me", "mongo_host": "127.0.0.1"}
        folder = filled(
            "fujitsu_pjm", tmp_path / "real", PASSWORD, environment=sys.prefix, **settings
        )
        launchpad = LaunchPad.from_file(str(folder / "my_launchpad.yaml"))
        launchpad.reset("", require_password=False)
        asked = {"_category": "ranking", "_queueadapter": {"walltime": "00:07:00"}}
        launchpad.add_wf(Firework(ScriptTask.from_str("echo done > done"), spec=asked, name="rank"))
        install("pjsub", 'bash "$1" >out 2>&1; echo "[INFO] PJM 0000 pjsub Job 42 submitted."')
        # Login nodes are x86, compute nodes Arm: here both are this machine.
        command = f'source "{folder}/environment.sh" && qlaunch -s -r singleshot'
        run = tmp_path / "run"
        run.mkdir()
        subprocess.run(["bash", "-c", command], cwd=run, check=True, timeout=60)
        output = (run / "out").read_text()
        assert launchpad.fireworks.find_one({"fw_id": 1})["state"] == "COMPLETED", output
        launchpad.connection.close()
    assert (run / "done").read_text() == "done\n"
    assert '#PJM -L "elapse=00:07:00"' in (run / "FW_submit.script").read_text().splitlines()
    written = [path.read_text() for path in run.iterdir()]
    assert not [text for text in written if PASSWORD in text]


@pytest.mark.parametrize(
    "command",
    [
        'echo "[ERR.] PJM 0071 pjsub Group not authorized to submit a job: group(59999)" >&2',
        'echo "[INFO] PJM 0000 pjsub Job 1 submitted."; exit 1',
        "exec sleep 5",
    ],
)
def test_described_adapter_says_when_a_job_is_refused(pjm, command):
    adapter, install = pjm
    install("pjsub", command)
    adapter.timeout = 0.5
    assert adapter.submit_to_queue("job.sh") is None


def test_described_adapter_without_the_command(pjm):
    assert pjm[0].submit_to_queue("job.sh") is None


def test_described_adapter_counts_jobs(pjm):
    adapter, install = pjm
    install("pjstat", f"cat <<'END'\n{PJSTAT}END")
    assert adapter.get_njobs_in_queue("u00000") == 2
    install("pjstat", "exit 1")
    assert adapter.get_njobs_in_queue("u00000") is None


def test_documented_sections_are_valid():
    text = (Path(__file__).parents[2] / "docs/cluster.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    sections = yaml.safe_load(example)
    assert Compute(**sections["compute"]).resources.ranking.ranks == 96
    assert read_backend_section(sections["backend"]).name == "vasp"


# A scheduler of one's own is data.


def test_a_folder_of_ones_own(tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(Path(str(find_scheduler("slurm").folder)), mine)
    described = yaml.safe_load((mine / "scheduler.yaml").read_text())
    described["values"]["qos"] = {"question": "Quality of service", "kind": "name", "example": "x"}
    (mine / "scheduler.yaml").write_text(yaml.safe_dump(described))
    with (mine / "my_qadapter.yaml").open("a") as file:
        file.write("qos: {{ qos }}\n")
    folder = filled(str(mine), tmp_path / "cluster", qos="debug")
    adapter = load_object_from_file(str(folder / "my_qadapter.yaml"))
    assert "#SBATCH --qos=debug" in adapter.get_script_str("/launch").splitlines()


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("x: {{ typo }}\ny: {{ other }}\n", r"nothing to fill in for other, typo"),
        ("x: {{ mongo_password }}\n", r"nothing to fill in for mongo_password"),
        ("x: {{ nodes\n", r"faulty template"),
    ],
)
def test_faulty_template_is_named(tmp_path, addition, message):
    mine = tmp_path / "mine"
    shutil.copytree(Path(str(find_scheduler("slurm").folder)), mine)
    with (mine / "my_fworker.yaml").open("a") as file:
        file.write(addition)
    with pytest.raises(IonSieveError, match=message) as error:
        filled(str(mine), tmp_path / "cluster", mongo_host="h")
    assert "my_fworker.yaml" in str(error.value)
    assert not (tmp_path / "cluster").exists()


def test_faulty_description_is_named(tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(Path(str(find_scheduler("slurm").folder)), mine)
    with (mine / "scheduler.yaml").open("a") as file:
        file.write("extras: {}\n")
    with pytest.raises(IonSieveError, match="extras"):
        find_scheduler(str(mine))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("count", "0"),
        ("count", "-2"),
        ("count", "2.5"),
        ("count", ""),
        ("port", "65536"),
        ("walltime", "12:00"),
        ("walltime", "00:00:00"),
        ("walltime", "12:61:00"),
        ("walltime", "43200"),
        ("name", "a b"),
        ("name", "x;rm"),
        ("name", "$(x)"),
        ("words", "a\nb"),
        ("words", "a; b"),
        ("path", "relative/x"),
        ("boolean", "maybe"),
        ("command", ""),
        ("launcher", "mpiexec"),
        ("launcher", "mpiexec -n $NSLOTS"),
        ("launcher", "mpiexec -n {ranks} {x}"),
        ("command", "mpiexec -n $NSLOTS vasp_std"),
        ("host", "mongodb://me:secret@host"),
    ],
)
def test_bad_values(kind, text):
    with pytest.raises(InputError, match=r"^thing") as error:
        check_value("thing", text, kind)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
