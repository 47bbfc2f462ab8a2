"""What the environment says about real services."""

import os
from pathlib import Path

from service_fixtures.provision import Provision
from service_fixtures.services import Postgres, Redis
from service_fixtures.settings import Rung, ServiceSettings


def read(tmp_path: Path, rung: Rung | None = None, **environ: str) -> ServiceSettings:
    return ServiceSettings.from_environment(rung, tmp_path, environ)


def test_an_empty_environment_names_no_server(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert (settings.postgres_dsn, settings.redis_url, settings.docker_folder) == (None, None, None)


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert read(tmp_path, STREAMPROOF_POSTGRES_DSN="").postgres_dsn is None


def test_the_process_name_is_the_slot_and_the_pid(tmp_path: Path) -> None:
    assert read(tmp_path, STREAMPROOF_SLOT="3").process_name == f"3_{os.getpid()}"


def test_a_slot_is_reduced_to_what_a_database_name_holds(tmp_path: Path) -> None:
    assert read(tmp_path, STREAMPROOF_SLOT="A; DROP--").process_name == f"adrop_{os.getpid()}"


def test_a_relative_cache_folder_is_ignored(tmp_path: Path) -> None:
    assert read(tmp_path, XDG_CACHE_HOME="cache").cache_folder.is_absolute()


def test_the_cache_folder_is_below_xdg_cache_home(tmp_path: Path) -> None:
    assert read(tmp_path, XDG_CACHE_HOME=str(tmp_path)).cache_folder == tmp_path / "streamproof"


def test_dockerfiles_are_found_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "docker" / "postgres").mkdir(parents=True)
    (tmp_path / "docker" / "postgres" / "Dockerfile").touch()
    assert read(tmp_path).docker_folder == tmp_path / "docker"


def test_a_password_is_not_in_the_repr() -> None:
    shown = repr(Postgres("postgresql://u:secret@h/d", "18", Rung.ENV)) + repr(
        Redis("redis://:secret@h", "7", Rung.ENV)
    )
    assert "secret" not in shown


def test_the_sqlalchemy_url_names_the_driver() -> None:
    postgres = Postgres("postgresql://u:p@h:5432/d?sslmode=disable", "18", Rung.ENV)
    assert postgres.sqlalchemy_url == "postgresql+psycopg://u:p@h:5432/d?sslmode=disable"


def test_a_provision_that_is_never_used_starts_nothing(tmp_path: Path) -> None:
    with Provision(read(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))):
        pass
    assert not (tmp_path / "cache").exists()
