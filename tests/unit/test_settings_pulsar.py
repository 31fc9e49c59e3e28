"""A log on Pulsar is said with what it needs, and with nothing that is of no use."""

from pathlib import Path

import pytest

from cli import event_log, replication
from cli import settings as configuration
from cli.main import parser
from core.errors import ConfigError, NotFound

KEY = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
PULSAR = ('log_url = "pulsar://10.0.1.5:6650,10.0.1.6:6650"', 'pulsar.admin_url = "http://10.0.1.5:8080"')
VALKEY = ('log_url = "redis://127.0.0.1:1/0"',)


def written(folder: Path, *stores: str, secrets: str = "", peer: str = "") -> Path:
    path = folder / "fra.toml"
    path.write_text(
        "\n".join(
            (
                "[stores]",
                'data_dir = "/data"',
                'objects_dir = "/objects"',
                'hot_url = "redis://127.0.0.1:2/0"',
                *stores,
                '[dc]\nname = "fra"\nnumber = 1\n[public]\nport = 1\n[sys]\nport = 2',
                '[secrets]\ntoken_key_file = "t"\nsys_key_file = "s"\nsigning_key_file = "k"',
                secrets,
                f'[peers.iad]\nnumber = 2\nsys_url = "http://iad:1"\npublic_key = "{KEY}"',
                peer,
            )
        )
    )
    return path


def test_several_brokers_a_tenant_and_a_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a.b.c\n")
    path = written(tmp_path, *PULSAR, 'pulsar.tenant = "chat"', secrets=f'pulsar_token_file = "{token}"')
    settings = configuration.load(path)
    assert settings.stores.on_pulsar
    assert settings.stores.pulsar.tenant == "chat"
    assert event_log.token(settings) == "a.b.c"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (PULSAR[:1], "goes with pulsar.admin_url"),
        ((*VALKEY, PULSAR[1]), "pulsar goes with a log_url"),
        ((*PULSAR, "pulsar.retention = 3"), "retention"),
        ((PULSAR[0], 'pulsar.admin_url = "http://me:secret@10.0.1.5"'), "admin_url"),
    ],
)
def test_what_makes_no_sense_is_refused_and_says_why(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configuration.load(written(tmp_path, *lines))


@pytest.mark.parametrize(
    ("stores", "name", "error", "said"),
    [
        (VALKEY, "iad", ConfigError, "names no Pulsar"),
        (PULSAR, "nrt", NotFound, "no nrt under"),
        (PULSAR, "iad", ConfigError, "which cluster"),
    ],
)
async def test_who_can_not_be_replicated_to_is_refused(
    tmp_path: Path, stores: tuple[str, ...], name: str, error: type[Exception], said: str
) -> None:
    args = parser().parse_args(["dc", "add", name, "--config", str(written(tmp_path, *stores))])
    with pytest.raises(error, match=said):
        await replication.run(args, name)
