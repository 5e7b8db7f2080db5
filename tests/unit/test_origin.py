"""Where each setting came from, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadnode.config import Settings, load_with_origins
from cadnode.config.origin import Origins, hide_password, masked
from cadnode.core.errors import ConfigError
from cadnode.core.provenance import SettingLine

FILE = """
[node]
port = 7

[[peers]]
name = "room 1"
ae_title = "MG1"

[[sources]]
name = "old"
ae_title = "OLD"
host = "localhost"
port = 104

[[pull]]
source = "old"
"""


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = FILE, **variables: str):
    file = folder / "cadnode.toml"
    file.write_text(text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load_with_origins(file, variables)


def lines(settings: Settings, origins: Origins) -> dict[str, SettingLine]:
    return {line.name: line for line in origins.in_force(settings).lines}


def test_each_setting_says_who_decided_it(tmp_path, monkeypatch):
    loaded = load(tmp_path, monkeypatch, CADNODE_WORK__LEASE_SECONDS="5")
    found = lines(*loaded)
    file = str(tmp_path / "cadnode.toml")
    assert (found["node.port"].value, found["node.port"].source) == ("7", "file")
    assert found["node.port"].where == file
    assert (found["node.ae_title"].value, found["node.ae_title"].source) == (
        '"CADNODE"',
        "default",
    )
    lease = found["work.lease_seconds"]
    assert (lease.value, lease.source, lease.where) == (
        "5.0",
        "environment",
        "CADNODE_WORK__LEASE_SECONDS",
    )


def test_the_environment_wins_and_is_named_though_the_file_has_the_key_too(tmp_path, monkeypatch):
    found = lines(*load(tmp_path, monkeypatch, CADNODE_NODE__PORT="9"))
    assert (found["node.port"].value, found["node.port"].source) == ("9", "environment")


def test_a_variable_with_a_whole_table_decides_the_keys_that_it_holds(tmp_path, monkeypatch):
    found = lines(*load(tmp_path, monkeypatch, CADNODE_NODE='{"station_name": "A"}'))
    assert found["node.station_name"].where == "CADNODE_NODE"
    assert found["node.port"].source == "file"


def test_entries_go_by_their_names(tmp_path, monkeypatch):
    found = lines(*load(tmp_path, monkeypatch))
    assert found["peers[room 1].ae_title"].source == "file"
    assert found["peers[room 1].tls"].source == "default"
    assert found["pull[old].source"].source == "file"


def test_a_list_from_the_environment_replaces_that_of_the_file(tmp_path, monkeypatch):
    peers = '[{"name": "van", "ae_title": "MG9"}]'
    found = lines(*load(tmp_path, monkeypatch, CADNODE_PEERS=peers))
    assert found["peers[van].ae_title"].source == "environment"
    assert found["peers[van].tls"].source == "default"
    assert "peers[room 1].ae_title" not in found


def test_the_password_of_the_database_is_never_shown(tmp_path, monkeypatch):
    url = "postgresql://cadnode:hush@db/cadnode"
    settings, origins = load(tmp_path, monkeypatch, CADNODE_DATABASE__URL=url)
    assert lines(settings, origins)["database.url"].value == '"postgresql://cadnode:***@db/cadnode"'
    assert "hush" not in repr(origins.in_force(settings))
    assert "hush" not in repr(masked(settings))


def test_secrets_of_the_console_and_of_a_webhook_are_not_shown_and_their_files_are(
    tmp_path, monkeypatch
):
    more = """
[web]
oidc_client_secret = "hush"
[notify]
webhook_url = "https://chat.example/hooks/hush?x=hush"
mail_password_file = "/etc/cadnode/mail"
"""
    settings, origins = load(tmp_path, monkeypatch, FILE + more)
    found = lines(settings, origins)
    assert "hush" not in repr(origins.in_force(settings))
    assert "***" in found["web.oidc_client_secret"].value
    assert found["notify.webhook_url"].value == '"***"'
    assert found["notify.mail_password_file"].value == '"/etc/cadnode/mail"'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////data/cadnode.db", "sqlite:////data/cadnode.db"),
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:p/w@h/d", "postgresql://u:***@h/d"),
        ("postgresql://h/d?user=u&password=p", "postgresql://h/d?user=u&password=***"),
        ("postgresql://u:p@h/d?sslpassword=p&a=b", "postgresql://u:***@h/d?sslpassword=***&a=b"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert hide_password(url) == shown


def test_a_file_that_was_changed_since_is_noticed(tmp_path, monkeypatch):
    settings, origins = load(tmp_path, monkeypatch)
    assert not origins.in_force(settings).file_changed
    (tmp_path / "cadnode.toml").write_text(FILE + "\n")
    assert origins.in_force(settings).file_changed


def test_a_node_without_a_file_says_so(monkeypatch):
    settings, origins = load_with_origins(None, {})
    found = origins.in_force(settings)
    assert (found.file, found.file_changed) == ("", False)
    assert {line.source for line in found.lines} == {"default"}


@pytest.mark.parametrize(
    ("text", "variables", "says"),
    [
        (FILE.replace('"MG1"', '"A TITLE THAT IS TOO LONG"'), {}, "(in the entry named 'room 1')"),
        (FILE.replace('ae_title = "MG1"', ""), {}, "peers.0.ae_title: Field required"),
        (FILE + "days = -1\n", {}, "(in the entry named 'old')"),
        (FILE, {"CADNODE_PEERS": '[{"name": "van", "ae_title": ""}]'}, "entry named 'van'"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, monkeypatch, text, variables, says):
    with pytest.raises(ConfigError) as error:
        load(tmp_path, monkeypatch, text, **variables)
    assert says in str(error.value)


def test_a_copy_of_the_delivered_file_differs_from_the_defaults_where_it_was_edited(
    tmp_path, monkeypatch
):
    delivered = Path(__file__).parents[2] / "config" / "cadnode.toml"
    text = (
        delivered.read_text().replace("port = 11112", "port = 7") + FILE[FILE.index("[[peers]]") :]
    )
    found = lines(*load(tmp_path, monkeypatch, text))
    edited = [
        line.name for line in found.values() if not line.is_default and line.source != "default"
    ]
    assert edited == [
        "node.port",
        "node.data_dir",
        "peers[room 1].name",
        "peers[room 1].ae_title",
        "sources[old].name",
        "sources[old].ae_title",
        "sources[old].host",
        "sources[old].port",
        "pull[old].source",
    ]
