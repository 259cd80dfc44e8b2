import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from pelt_automl import cli
from pelt_automl.announcing import EVENT, ServerError, api_url, read_task
from pelt_automl.errors import SettingsError


@pytest.fixture
def server():
    """Takes events as Prefect's API does: its address, what it got, and the code that it answers with."""
    got, code = [], [204]

    class Api(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.headers.get("Authorization"), json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(code[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/api", got, code
    running.shutdown()
    running.server_close()


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "reviews.yaml"
    file.write_text("train: reviews.csv\ntext_columns: [text]\nlabel_column: label\nk: 16\n")
    return file


def typed(*words, monkeypatch, capsys):
    """Exit code and what was printed, as a person who types it sees them."""
    monkeypatch.setattr("sys.argv", ["pelt-automl", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    return ended.value.code, printed.out + printed.err


def test_the_event_has_the_file_s_name_and_content(task, server, monkeypatch, capsys):
    url, got, _ = server
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    code, said = typed("tasks", "announce", task, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, said) == (0, f"Announced reviews to {url}; the run of reevaluate-tasks/announced says what is started.\n")
    ((path, authorization, (event,)),) = got
    assert (path, authorization) == ("/api/events", "Bearer secret")
    assert (event["event"], event["resource"]["prefect.resource.id"]) == (EVENT, "pelt-automl.task.reviews")
    fields = {"train": "reviews.csv", "text_columns": ["text"], "label_column": "label", "k": 16}
    assert event["payload"] == {"name": "reviews", "fields": fields}


def test_the_server_is_that_of_make_up_where_nothing_else_is_said(task, server, monkeypatch):
    with pytest.raises(ServerError, match=r"no Prefect server is known: type this where `make up` was typed, or set PREFECT_API_URL"):
        api_url()
    (task.parent / "prefect.toml").write_text("[api]\nurl = 'http://here/api'\n")
    assert api_url() == "http://here/api"
    monkeypatch.setenv("PREFECT_API_URL", "http://there/api")
    assert api_url() == "http://there/api"


def test_where_no_server_answers_or_it_refuses_one_message_says_it_and_the_code_is_2(task, server, monkeypatch, capsys):
    url, _, answer = server
    answer[0] = 404
    for address, said in (
        (
            "http://127.0.0.1:1/api",
            "error: no server answers at http://127.0.0.1:1/api (",
        ),
        (url, f"error: the server at {url} refuses the event (404 Not Found); is it Prefect's API?"),
        ("file:///etc", "is no address of a server"),
        ("http://127.0.0.1:42oo/api", "error: 'http://127.0.0.1:42oo/api' is no address of a server"),
        ("http://[::1/api", "is no address of a server"),
        ("http://me:password@here:x/api", "error: 'http://here:x/api' is no address of a server"),
    ):
        monkeypatch.setenv("PREFECT_API_URL", address)
        code, printed = typed("tasks", "announce", task, monkeypatch=monkeypatch, capsys=capsys)
        assert code == 2
        assert said in printed
        assert "Traceback" not in printed


def test_what_answers_and_speaks_no_http_is_one_message(task, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"http://127.0.0.1:{other.getsockname()[1]}/api"

        def speak():
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0-of another program\r\n")
                while connection.recv(65_536):
                    pass

        threading.Thread(target=speak, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", address)
        code, printed = typed("tasks", "announce", task, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, printed) == (2, f"error: what answers at {address} doesn't speak HTTP; is it Prefect's API?\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: [unclosed", "can't be read as YAML"),
        ("- task: qnli", "it holds list"),
        ("task: qnli\nseeds: 3\nk: 3", "has 2 problems"),
        ("!!python/object/apply:os.system ['true']", "can't be read as YAML"),
    ],
)
def test_a_wrong_file_is_named_before_anybody_is_told(task, text, said):
    task.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_task(task)
    with pytest.raises(SettingsError, match=r"none\.yaml can't be read as YAML: No such file"):
        read_task(task.parent / "none.yaml")


@pytest.mark.parametrize("name", ["my task", "-k", "ärger", "a" * 101])
def test_a_name_that_no_task_may_have_is_refused_before_anybody_is_told(task, name):
    file = task.rename(task.with_name(f"{name}.yaml"))
    with pytest.raises(SettingsError, match="is no name; use letters, digits"):
        read_task(file)


def test_tasks_are_shown_as_before(monkeypatch):
    run = CliRunner().invoke
    listed = run(cli.app, ["tasks"])
    assert listed.exit_code == 0
    assert listed.output == run(cli.app, ["tasks", "show"]).output
    assert json.loads(run(cli.app, ["tasks", "--json"]).output)
    assert "announce" in run(cli.app, ["tasks", "--help"]).output
