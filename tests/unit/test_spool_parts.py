"""Where the files of the node lie, as its settings have it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cadnode.config import Settings, load_settings
from cadnode.core.errors import ConfigError, SpoolFull
from cadnode.spool_parts import open_objects, open_spool, try_storage
from cadnode.storage.object_spool import ObjectSpool
from cadnode.storage.spool import Spool

STORE = '[storage]\nurl = "s3://files/a"\naccess_key = "k"\n'


def settings(folder: Path, text: str) -> Settings:
    file = folder / "cadnode.toml"
    file.write_text(text)
    return load_settings(file, {})


def test_without_a_word_they_lie_in_the_data_folder(tmp_path: Path):
    files = open_spool(settings(tmp_path, ""))
    assert isinstance(files, Spool)
    assert files.incoming_dir == tmp_path / "data" / "incoming"


def test_in_a_shared_folder_each_machine_receives_into_a_part_of_its_own(tmp_path: Path):
    chosen = settings(tmp_path, '[storage]\nfolder = "shared"')
    files = open_spool(chosen)
    assert chosen.files_dir == tmp_path / "shared"
    assert files.incoming_dir == tmp_path / "shared" / "incoming" / socket.gethostname()
    assert not (tmp_path / "data").exists()


def test_of_an_object_store_nothing_is_asked_when_the_node_starts(tmp_path: Path):
    chosen = settings(tmp_path, STORE + 'secret_key = "s"\nendpoint_url = "http://127.0.0.1:1"')
    files = open_spool(chosen)
    assert isinstance(files, ObjectSpool)
    assert files.incoming_dir == tmp_path / "data" / "incoming"
    assert open_objects(chosen.storage).name == "s3://files/a at 127.0.0.1:1"


def test_what_is_missing_for_an_object_store_is_said_before_the_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    chosen = settings(tmp_path, STORE + 'secret_key_file = "s3.key"')
    with pytest.raises(ConfigError, match=r"storage.secret_key_file: .*s3\.key cannot be read"):
        open_spool(chosen)
    (tmp_path / "s3.key").write_text("secret\n")
    open_spool(chosen)
    monkeypatch.setattr("cadnode.spool_parts.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"cadnode\[s3\]"):
        open_spool(chosen)


@pytest.mark.parametrize("there", [True, False])
def test_a_shared_folder_that_is_none_is_said_so_with_its_name(tmp_path: Path, there: bool):
    if there:
        (tmp_path / "shared").write_text("a file")
    chosen = settings(tmp_path, '[storage]\nfolder = "shared"')
    with pytest.raises(SpoolFull, match=f"{tmp_path}/shared: the data disk failed"):
        try_storage(chosen)
