"""Where Prefect's and MLflow's servers keep their state: two SQLite files, a PostgreSQL that is named, or one that `make up` starts.

One PostgreSQL database serves both: Prefect in its default schema, MLflow in the schema `mlflow`, since both have tables of one name. Its
password is handed to the two servers by their environment; nothing here writes it down.
"""

import getpass
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

VARIABLE = "PELT_AUTOML_DATABASE"
SQLITE, OWN = "sqlite", "own"
SHAPE = "postgresql://USER:PASSWORD@HOST/DATABASE"
NAME = "postgres"
"""Of the service, of its folder in the home, of the database in it, and of the account that runs it where `make up` is typed by root."""
ROLE = "pelt"
LONGEST_SOCKET = 100
"""Characters of a socket's path, about; the system's limit is a little more."""
LOOPBACK = ("localhost", "127.0.0.1", "::1", None)


class DatabaseError(Exception):
    """What a person has to know."""


@dataclass(frozen=True)
class Database:
    """The database of a home: ``sqlite``, ``own``, or an address with or without its password."""

    address: str

    @staticmethod
    def of(said: str) -> "Database":
        """Raises `DatabaseError` for what names no database; the password isn't repeated."""
        if said in (SQLITE, OWN):
            return Database(said)
        try:
            where = urlsplit(said)
            usable = (
                where.scheme in ("postgresql", "postgres") and len(where.path) > 1 and bool(where.hostname or _query(where).get("host"))
            )
            usable = usable and (where.port or 1) > 0 and not where.fragment
            usable = usable and "@" not in where.path + where.query  # else a / in the password has cut it
        except ValueError:
            usable = False
        if not usable:
            raise DatabaseError(
                f"{VARIABLE} is no address of a PostgreSQL database; expected {SHAPE} (with %40 for @ and so on in a password), "
                f"{OWN} for one that make up starts, or {SQLITE}"
            ) from None
        return Database(urlunsplit(where._replace(scheme="postgresql")))

    @property
    def is_sqlite(self) -> bool:
        """Whether the servers keep files of their own."""
        return self.address == SQLITE

    @property
    def named(self) -> str:
        """The same without its password, to be shown and kept."""
        if self.address in (SQLITE, OWN):
            return self.address
        where = urlsplit(self.address)
        user, _, place = where.netloc.rpartition("@")
        query = {key: value for key, value in _query(where).items() if key not in ("password", "passfile", "sslpassword")}
        netloc = f"{user.partition(':')[0]}@{place}" if user else place
        return urlunsplit(where._replace(netloc=netloc, query=urlencode(query)))

    def in_words(self, home: Path) -> str:
        """For people."""
        if self.is_sqlite:
            return f"the SQLite files of {home}"
        return f"the PostgreSQL of {folder_of(home)}" if self.address == OWN else self.named

    def url(self, home: Path, driver: str = "", schema: str = "") -> str:
        """For a client's library: ``+asyncpg`` for Prefect. TLS is required to other machines, unless the address says otherwise."""
        own = f"postgresql://{ROLE}@/{NAME}?host={quote(str(folder_of(home)), safe='')}"
        where = urlsplit(own if self.address == OWN else self.address)
        query = _query(where)
        tls = query.pop("sslmode", None) or query.pop("ssl", None)
        if tls is None and where.hostname not in LOOPBACK:
            tls = "require"
        query |= {"ssl" if driver == "+asyncpg" else "sslmode": tls} if tls else {}
        query |= {"options": f"-csearch_path={schema}"} if schema else {}
        # Not urlunsplit: it drops the slashes of an address without a host.
        return f"postgresql{driver}://{where.netloc}{where.path}" + (f"?{urlencode(query)}" if query else "")

    def of_prefect(self, home: Path) -> dict[str, str]:
        """For the environment of Prefect's server."""
        return {} if self.is_sqlite else {"PREFECT_SERVER_DATABASE_CONNECTION_URL": self.url(home, "+asyncpg")}

    def of_mlflow(self, home: Path) -> dict[str, str]:
        """For the environment of MLflow's server; a process's title would show it to everybody."""
        url = f"sqlite:///{home / 'mlflow.db'}" if self.is_sqlite else self.url(home, schema="mlflow")
        return {"MLFLOW_BACKEND_STORE_URI": url}


def _query(where: SplitResult) -> dict[str, str]:
    return dict(parse_qsl(where.query, keep_blank_values=True))


def folder_of(home: Path) -> Path:
    """Of the PostgreSQL that `make up` starts: its data, and its socket."""
    return home / NAME


def account() -> str | None:
    """The account that runs it: None for the one that types `make up`. PostgreSQL refuses to be run by root."""
    return NAME if os.geteuid() == 0 else None


def binaries(home: Path) -> Path | None:
    """The folder with ``initdb`` and ``postgres``: of the version that wrote the data, else the newest; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path else []
    found = [folder for folder in found if (folder / "initdb").exists() and (folder / "postgres").exists()]
    with_version = folder_of(home) / "data" / "PG_VERSION"
    version = with_version.read_text(encoding="ascii").strip() if with_version.is_file() else ""
    return next((folder for folder in found if version and folder.parent.name == version), found[0] if found else None)


def why_not_own(home: Path) -> str:
    """Why `make up` can't start a PostgreSQL of its own, and what to do about it; empty where it can."""
    if binaries(home) is None:
        return "PostgreSQL isn't installed (apt-get install postgresql, or its initdb and postgres on PATH)"
    if len(str(folder_of(home))) > LONGEST_SOCKET - len("/.s.PGSQL.5432"):
        return f"the path of {home} is too long for PostgreSQL's socket (name a shorter one: PELT_AUTOML_HOME=DIR make up)"
    if account() is None:
        return ""
    try:
        pwd.getpwnam(NAME)
    except KeyError:
        return f"root may not run PostgreSQL, and there is no account {NAME} for it (type make up as another user)"
    closed = [path for path in (home, *home.parents) if path.exists() and not path.stat().st_mode & stat.S_IXOTH]
    if closed:
        return (
            f"root may not run PostgreSQL, and the account {NAME}, which would, may not enter {closed[-1]} "
            "(type make up as another user, or elsewhere: PELT_AUTOML_HOME=DIR make up)"
        )
    return ""


def as_account() -> dict[str, object]:
    """How `subprocess` runs what PostgreSQL's account has to run."""
    who = account()
    return {"user": who, "group": pwd.getpwnam(who).pw_gid, "extra_groups": []} if who else {}


def prepare_own(home: Path) -> None:
    """Make its data where there are none. Raises `DatabaseError` when that fails.

    Only the account that types `make up`, and the one that runs the server, get in, and by its socket alone: the system says who asks
    (``peer``), so that there is no password.
    """
    folder, programs = folder_of(home), binaries(home)
    if why := why_not_own(home):
        raise DatabaseError(f"make up can't start a PostgreSQL of its own: {why}")
    assert programs is not None
    if (folder / "data").is_dir():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    who = account()
    if who:
        shutil.chown(folder, who)
    new = folder / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    command = [str(programs / "initdb"), "-D", str(new), "-U", ROLE, "-E", "UTF8", "--locale=C", "--auth-local=peer", "--auth-host=reject"]
    made = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=300, check=False, **as_account())  # type: ignore[call-overload]
    if made.returncode:
        shutil.rmtree(new, ignore_errors=True)
        raise DatabaseError(f"PostgreSQL's data can't be made in {folder} ({VARIABLE}={SQLITE} does without):\n{made.stderr.strip()}")
    users = {getpass.getuser(), pwd.getpwuid(os.geteuid()).pw_name, *([who] if who else [])}
    _replace(new / "pg_hba.conf", f"local all all peer map={ROLE}\n")
    _replace(new / "pg_ident.conf", "".join(f"{ROLE} {user} {ROLE}\n" for user in sorted(users)))
    new.rename(folder / "data")


def _replace(file: Path, text: str) -> None:
    """Written over, so that its owner and its rights stay."""
    with file.open("r+", encoding="utf-8") as opened:
        opened.truncate()
        opened.write(text)


def command_of_own(home: Path) -> tuple[str, ...]:
    """Runs it, reachable by its socket alone."""
    folder = folder_of(home)
    program = (binaries(home) or Path()) / "postgres"
    settings = {"listen_addresses": "", "unix_socket_permissions": "0700", "unix_socket_directories": str(folder)}
    return (str(program), "-D", str(folder / "data"), *(part for item in settings.items() for part in ("-c", "=".join(item))))


def is_held(log: str) -> bool:
    """Whether a server has ended since processes of one that was killed still have its data: they end within seconds."""
    return "postmaster.pid" in log or "shared memory block" in log


def problem_with(database: Database, home: Path) -> str:
    """Why the database doesn't answer; empty when it does. Leaves the schema of MLflow's tables in it."""
    import psycopg2

    try:
        connection = psycopg2.connect(database.url(home), connect_timeout=10)
    except psycopg2.ProgrammingError:  # its text quotes the address, with the password
        return "PostgreSQL can't read the address: a % in a password is %25, and after ? only its own words may stand"
    except (psycopg2.Error, UnicodeError) as error:
        return " ".join(str(error).split())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS mlflow")
    except psycopg2.Error as error:
        return f"{' '.join(str(error).split())}; the schema mlflow is made there for MLflow, which its owner may do"
    finally:
        connection.close()
    return ""


def said(environment: Mapping[str, str]) -> str:
    """What the caller asks for; empty for nothing."""
    return environment.get(VARIABLE, "").strip()
