"""What `cadnode check` says about certificates, and which TLS settings hold together."""

from __future__ import annotations

from pathlib import Path

import pytest
from pynetdicom import AE

from cadnode.app import App
from cadnode.checks import Check, run_checks
from cadnode.config import load_settings
from cadnode.core.audit import AuditEvent, NodeRefused, NoTrail
from cadnode.core.errors import ConfigError
from cadnode.dimse.commitment_messages import STORAGE_COMMITMENT
from cadnode.dimse.contexts import VERIFICATION
from cadnode.dimse.tls import ListenTls, TlsFiles, server_context
from cadnode.network import scp_settings
from cadnode.result_parts import RESULT_CLASSES
from tests.certificates import SiteCa
from tests.integration.modality import Modality
from tests.integration.receiver import receiver


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> SiteCa:
    return SiteCa(tmp_path_factory.mktemp("ca"))


def settings_file(
    folder: Path, files: TlsFiles | None, more: str = "", listen: str = "true"
) -> Path:
    config = folder / "cadnode.toml"
    tls = f"[tls]\nlisten = {listen}\nport = 0\n"
    if files:
        tls += f'certificate = "{files.certificate}"\nkey = "{files.key}"\nca = "{files.ca}"\n'
    config.write_text(
        f'[node]\nhost = "127.0.0.1"\nport = 0\ndata_dir = "data"\n[model]\nfolder = "none"\n{tls}{more}'
    )
    return config


def checks(config: Path) -> dict[str, Check]:
    return {check.name: check for check in run_checks(App(load_settings(config, {})))}


def destination(port: int, **more: str) -> str:
    lines = "".join(f'{key} = "{value}"\n' for key, value in more.items())
    return (
        f'[[destinations]]\nname = "pacs"\nae_title = "CADNODE"\nhost = "127.0.0.1"\nport = {port}\n'
        f"tls = true\n{lines}"
    )


@pytest.mark.parametrize(
    ("days", "well", "says"),
    [(365, True, "holds until"), (29, None, "expires in 28 days"), (-1, False, "has expired")],
)
def test_the_node_s_certificate_is_looked_at_before_it_expires(
    days: int, well: bool | None, says: str, ca: SiteCa, tmp_path: Path
) -> None:
    found = checks(settings_file(tmp_path, ca.issue("node", days=days)))["tls"]

    assert found.well is well
    assert says in found.detail


def test_a_certificate_of_another_ca_or_for_another_host_is_noticed(
    ca: SiteCa, tmp_path: Path
) -> None:
    rogue = SiteCa(tmp_path / "rogue", "rogue").issue("node", trusting=ca)
    assert checks(settings_file(tmp_path, rogue))["tls"].well is False

    elsewhere = checks(settings_file(tmp_path, ca.issue("node", "elsewhere.example")))
    assert elsewhere["tls"].well is True
    assert "elsewhere.example" in elsewhere["tls name"].detail
    assert "tls name" not in checks(settings_file(tmp_path, ca.issue("node")))


def test_a_destination_is_reached_over_tls_and_its_certificate_looked_at(
    ca: SiteCa, tmp_path: Path
) -> None:
    files = ca.issue("node")
    with receiver(tmp_path, tls=ListenTls(0, ca.issue("archive", days=10))) as archive:
        port = archive.scp.tls_port or 0
        right = checks(settings_file(tmp_path, files, destination(port)))
        wrong = checks(
            settings_file(tmp_path, files, destination(port, certificate_host="pacs.example"))
        )

    # Another node of ours: it answers, and takes no results.
    assert "does not accept" in right["destination pacs"].detail
    assert "expires in 9 days" in right["destination pacs tls"].detail
    assert wrong["destination pacs"].well is False
    assert "Hostname mismatch" in wrong["destination pacs"].detail


@pytest.mark.parametrize(("listen", "well"), [("true", True), ("false", None)])
def test_a_commitment_over_tls_needs_a_tls_port_of_ours(
    listen: str, well: bool | None, ca: SiteCa, tmp_path: Path
) -> None:
    files = ca.issue("node")
    ae = AE("CADNODE")
    for uid in (STORAGE_COMMITMENT, VERIFICATION, *RESULT_CLASSES.values()):
        ae.add_supported_context(uid)
    context = server_context(files)
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context)
    assert server is not None
    try:
        more = destination(server.server_address[1])
        found = checks(settings_file(tmp_path, files, more, listen))["destination pacs"]
    finally:
        server.shutdown()

    assert found.well is well
    assert ("we do not listen" in found.detail) is (well is None)


def test_the_certificate_of_a_source_is_looked_at(ca: SiteCa, tmp_path: Path) -> None:
    with receiver(tmp_path, tls=ListenTls(0, ca.issue("archive", days=10))) as archive:
        port = archive.scp.tls_port or 0
        source = destination(port).replace("destinations", "sources")
        found = checks(settings_file(tmp_path, ca.issue("node"), source))

    assert "expires in 9 days" in found["source pacs tls"].detail


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tls]\nlisten = true", "tls: listen = true needs certificate, key and ca"),
        ("[node]\nplain = false", "node.plain = false needs listen = true"),
        (destination(104), "'pacs' has tls = true"),
        (
            '[[sources]]\nname = "old"\nae_title = "OLD"\nhost = "h"\nport = 104\ntls = true\n'
            'retrieve = "move"\n[tls]\ncertificate = "c"\nkey = "k"\nca = "a"',
            "'old' has tls = true and sends to our port",
        ),
        (
            '[[peers]]\nname = "a"\nae_title = "A"\ntls = true',
            "'a' has tls = true, which needs lis",
        ),
        ('[[peers]]\nname = "a"\nae_title = "A"\nhost = "a..b"', "this is no host name"),
        ('[[peers]]\nname = "a"\nae_title = "A"\nhost = "10.0.0/24"', "written as 10.0.0.0/24"),
        ('[[peers]]\nname = "a"\nae_title = "A"\ncertificate_sha256 = "12"', "64 hexadecimal"),
    ],
)
def test_settings_that_do_not_hold_together_are_refused(
    text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "cadnode.toml").write_text(text)

    with pytest.raises(ConfigError, match=says):
        load_settings(tmp_path / "cadnode.toml", {})


def test_who_may_come_in_follows_from_the_settings(ca: SiteCa, tmp_path: Path) -> None:
    more = (
        destination(104)
        + '[[peers]]\nname = "room 1"\nae_title = "MG1"\nhost = "10.0.0.0/24"\nmax_object_mb = 0\n'
        + '[[sources]]\nname = "old"\nae_title = "OLD"\nhost = "10.0.1.1"\nport = 104\n'
        + 'retrieve = "move"\n'
        + "[limits]\nmb_per_minute = 10\nmax_object_mb = 200\n"
    )
    settings = load_settings(settings_file(tmp_path, ca.issue("node"), more), {})

    scp = scp_settings(settings, tmp_path)

    (guest,) = scp.guests
    room, source = scp.peers
    assert (guest.ae_title, guest.tls, guest.may_store) == ("CADNODE", True, False)
    assert (source.ae_title, source.host, source.tls) == ("OLD", "10.0.1.1", False)
    assert (room.host, room.may_store) == ("10.0.0.0/24", True)
    assert (room.limits.max_object_bytes, room.limits.bytes_per_minute) == (0, 10 << 20)
    assert (source.limits.max_object_bytes, scp.limits.max_associations) == (200 << 20, 50)


def test_a_handshake_that_fails_is_a_security_alert(ca: SiteCa, tmp_path: Path) -> None:
    alerts: list[AuditEvent] = []

    class Trail(NoTrail):
        def record(self, event: AuditEvent) -> None:
            alerts.append(event)

    app = App(load_settings(settings_file(tmp_path, ca.issue("node")), {}))
    app.audit = Trail()
    store = app.open_store(create=True)
    scp = app.storage_scp(store.exams, app.spool())
    scp.start()
    try:
        with Modality(scp.tls_port or 0) as modality:
            modality.associate()
            modality.seconds_until_closed()
    finally:
        scp.stop()
        store.close()

    (alert,) = alerts
    assert isinstance(alert, NodeRefused)
    assert alert.stranger.host == "127.0.0.1"
    assert alert.why.startswith("no TLS: ")
