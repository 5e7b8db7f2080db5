"""Settings: read once, checked at start, one line that names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cadnode.config import Settings, default_models_folder, load_settings
from cadnode.config.origin import masked
from cadnode.core.errors import ConfigError

ROOT = Path(__file__).parents[2]

SOURCE = """
[[sources]]
name = "old"
ae_title = "OLD"
host = "localhost"
port = 104
"""

DESTINATION = """
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "localhost"
port = 104
"""


OIDC = """
[web]
oidc_issuer = "https://id.example"
oidc_client_id = 'x'
oidc_client_secret = "a secret"
oidc_roles = { "cad" = 'admin' }
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "cadnode.toml"
    file.write_text(text)
    return file


def test_the_shipped_file_is_the_defaults(tmp_path):
    shipped = load_settings(ROOT / "config" / "cadnode.toml", {})
    assert shipped.node.data_dir == ROOT / "data"
    defaults = load_settings(write(tmp_path, ""), {})
    without_folder = {"data_dir": shipped.node.data_dir}
    assert shipped == defaults.model_copy(
        update={"node": defaults.node.model_copy(update=without_folder)}
    )


def test_the_shipped_file_shows_every_key():
    text = (ROOT / "config" / "cadnode.toml").read_text()
    for table, field in Settings.model_fields.items():
        annotation: Any = field.annotation
        model = getattr(annotation, "__args__", (annotation,))[0]
        assert f"[{table}]" in text
        for key in model.model_fields:
            assert f"{key} = " in text, f"{table}.{key} is not shown"


def test_the_environment_wins_over_the_file(tmp_path, monkeypatch):
    file = write(tmp_path, "[node]\nport = 1\nae_title = 'FILE'\n")
    monkeypatch.setenv("CADNODE_NODE__PORT", "2")
    settings = load_settings(file)
    assert (settings.node.port, settings.node.ae_title) == (2, "FILE")


def test_tables_that_stand_several_times_can_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CADNODE_PEERS", '[{"name": "room 1", "ae_title": "MG1"}]')
    assert load_settings(write(tmp_path, "")).peers[0].ae_title == "MG1"


def test_the_environment_names_the_file(tmp_path):
    file = write(tmp_path, "[node]\nport = 7\n")
    assert load_settings(None, {"CADNODE_CONFIG": str(file)}).node.port == 7


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path):
    settings = load_settings(write(tmp_path, "[node]\ndata_dir = 'd'\n[model]\nfolder = 'm'\n"), {})
    assert settings.node.data_dir == tmp_path / "d"
    assert settings.model.folder == tmp_path / "m"
    assert settings.database_url == f"sqlite:///{tmp_path}/d/cadnode.db"


def test_without_a_folder_the_model_is_the_one_we_ship(tmp_path):
    assert load_settings(write(tmp_path, ""), {}).model.folder == default_models_folder()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[node]\nprot = 3", "node.prot: there is no such key (allowed: ae_title, host, port"),
        ("[nodes]\n", "nodes: there is no such key (allowed: node, peers"),
        ("[node]\nport = 99999", "node.port: Input should be less than or equal to 65535"),
        ("[node]\nae_title = 'A TITLE THAT IS TOO LONG'", "node.ae_title: an AE title is 1 to 16"),
        ("[exam]\nexpected_views = ['rcc']", "exam.expected_views.0: a view is a side"),
        ("[exam]\nquiet_seconds = 0", "exam.quiet_seconds: Input should be greater than 0"),
        (DESTINATION + "objects = ['pdf']", "destinations.0.objects.0: Input should be"),
        (DESTINATION + "commitment = 'perhaps'", "Input should be 'auto', 'require' or 'off'"),
        (DESTINATION * 2, "every name may stand once only"),
        ("[[destinations]]\nname = 'pacs'", "destinations.0.ae_title: Field required"),
        (SOURCE * 2, "sources: every name may stand once only"),
        (SOURCE + "[[pull]]\nsource = 'pax'", "pull: there is no source 'pax' in [[sources]]"),
        (SOURCE + "[[pull]]\nsource = 'old'\n" * 2, "may stand together once only"),
        (SOURCE + "retrieve = 'wado'", "sources.0.retrieve: Input should be 'get' or 'move'"),
        ("[web]\nhost = '0.0.0.0'", "passwords would go over the network in clear"),
        ("[web]\nhost = 'node.example'", "passwords would go over the network in clear"),
        ("[web]\ntls = true", "web.tls = true needs certificate and key in [web] or in [tls]"),
        ("[web]\nkey = 'k.pem'", "web: certificate and key go together"),
        ("[web]\ntrusted_proxies = ['proxy']", "web.trusted_proxies.0: an address or a network"),
        ("[web]\nsession_hours = 0", "web.session_hours: Input should be greater than 0"),
        (OIDC.replace("https", "http"), "web.oidc_issuer: an issuer is an https:// URL"),
        (OIDC.replace("oidc_client_id = 'x'", ""), "oidc_issuer needs oidc_client_id"),
        (OIDC.replace("oidc_roles", "# "), "oidc_issuer needs oidc_roles"),
        (OIDC.replace("'admin'", "'root'"), "Input should be 'viewer', 'operator' or 'admin'"),
        (OIDC + "oidc_client_secret_file = 'f'", "one of the two"),
        ("[storage]\nurl = 'https://bucket'", "storage.url: a place for objects is written as s3"),
        ("[storage]\nurl = 's3://b'", "storage.url: a place for objects is written as s3"),
        ("[storage]\nurl = 's3://files'\nfolder = 'f'", "storage: folder and url: one of the two"),
        ("[storage]\naccess_key = 'x'", "storage: access_key and secret_key (or its file) go"),
        ("[storage]\nsecret_key = 'x'\nsecret_key_file = 'f'", "secret_key_file: one of the two"),
        ("[storage]\nendpoint_url = 'http://a:b@host'", "endpoint_url has no name in it"),
        ("[node", "not valid TOML"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_the_key(tmp_path, text, says):
    with pytest.raises(ConfigError) as error:
        load_settings(write(tmp_path, text), {})
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert "E101" in str(error.value)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("CADNODE_NODE__PROT", "1", "node.prot: there is no such key"),
        ("CADNODE_NODES__PORT", "1", "there is no table 'nodes'"),
        ("CADNODE_NODE__PORT", "x", "node.port: Input should be a valid integer"),
        ("CADNODE_PEERS", "[{", "environment:"),
    ],
)
def test_a_bad_variable_is_one_line_too(tmp_path, monkeypatch, variable, value, says):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match="E101") as error:
        load_settings(write(tmp_path, ""))
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "host = '127.0.0.1'",
        "host = '::1'",
        "host = 'localhost'",
        "host = '0.0.0.0'\nallow_plain = true",
        "host = '0.0.0.0'\ntrusted_proxies = ['10.0.0.2', '10.1.0.0/16']",
        "host = '0.0.0.0'\ntls = true\ncertificate = 'c.pem'\nkey = 'k.pem'",
        "host = '0.0.0.0'\nenabled = false",
        "oidc_issuer = 'http://127.0.0.1:9400'\noidc_client_id = 'x'\noidc_roles = {a = 'viewer'}",
    ],
)
def test_the_console_is_reached_from_where_nobody_can_listen_in(tmp_path, text):
    load_settings(write(tmp_path, f"[web]\n{text}"), {})


def test_the_console_shows_its_own_certificate_or_the_one_of_the_node(tmp_path):
    node = "[tls]\ncertificate = 'n.pem'\nkey = 'n.key'\n[web]\ntls = true\n"
    settings = load_settings(write(tmp_path, node), {})
    assert settings.web_certificate == (tmp_path / "n.pem", tmp_path / "n.key")
    settings = load_settings(write(tmp_path, node + "certificate = 'w.pem'\nkey = 'w.key'\n"), {})
    assert settings.web_certificate == (tmp_path / "w.pem", tmp_path / "w.key")


@pytest.mark.parametrize("url", ["http://u:a-secret@host", "a-secret", "amqp://h;sqs://a-secret"])
def test_a_broker_nobody_knows_is_refused_without_its_password(tmp_path, url):
    with pytest.raises(ConfigError, match="broker_url is written as amqp://") as error:
        load_settings(write(tmp_path, f"[celery]\nbroker_url = {url!r}"), {})
    assert "a-secret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://cadnode:a-/secret@host:5672//",
        "amqp://cadnode:12#a-secret@host:5672//",
        "redis://:12?a-secret@host:6379/0",
        "amqp://host:99999//",
        "sentinel://:a-secret@host:26379",
    ],
)
def test_a_broker_url_that_is_cut_short_by_its_password_is_refused_without_it(tmp_path, url):
    with pytest.raises(ConfigError, match="broker_url is written as amqp://") as error:
        load_settings(write(tmp_path, f"[celery]\nbroker_url = {url!r}"), {})
    assert "a-" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://cadnode:a-secret@host:5672//",
        "redis://:a-secret@host:6379/0",
        "amqp://cadnode:a-secret@one//;amqp://cadnode:a-secret@two//",
        "rediss://host/0?password=a-secret",
    ],
)
def test_the_password_of_a_broker_is_not_shown(tmp_path, url):
    settings = load_settings(write(tmp_path, f"[celery]\nbroker_url = {url!r}"), {})
    shown = masked(settings)["celery"]["broker_url"]
    assert "a-secret" not in shown
    assert shown.startswith(url.partition("://")[0])


def test_no_secret_is_shown(tmp_path):
    settings = load_settings(write(tmp_path, OIDC), {})
    assert settings.web.oidc_client_secret.get_secret_value() == "a secret"
    for shown in (str(settings), repr(settings), settings.model_dump_json()):
        assert "a secret" not in shown


def test_an_unreadable_file_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "missing.toml", {})


def test_settings_cannot_be_changed_after_the_start(tmp_path):
    settings = load_settings(write(tmp_path, ""), {})
    with pytest.raises(Exception, match="frozen"):
        settings.node.port = 1


def test_an_unknown_destination_is_answered_with_those_there_are(tmp_path):
    settings = load_settings(write(tmp_path, DESTINATION), {})
    assert settings.destination("pacs").port == 104
    with pytest.raises(ConfigError, match="pacs"):
        settings.destination("other")
