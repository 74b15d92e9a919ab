"""`pgface backup` and `pgface restore`."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from pgface.cli.options import JsonOption
from pgface.cli.output import print_error, print_error_list, print_json, progress, say
from pgface.errors import PassphraseError
from pgface.operations.backup import BackupReport, Manifest, Verified, back_up, verify
from pgface.operations.backup.restore import RestoreReport, restore
from pgface.settings import Settings, get_settings
from pgface.system.signals import termination_as_keyboard_interrupt
from pgface.text import counted

app = typer.Typer()

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Read the passphrase from the first line of FILE instead of PGFACE_BACKUP_PASSPHRASE."
    ),
]


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The archive to write.")],
    embeddings_only: Annotated[
        bool, typer.Option("--embeddings-only", help="Back up only the embeddings, without users and photos.")
    ] = False,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Encrypt the archive. Asks for a passphrase if none is set.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    json: JsonOption = False,
) -> None:
    """Write the gallery's rows and photo files to one archive.

    The gallery stays in use meanwhile. If a passphrase is set, the archive is encrypted.
    """
    settings = get_settings()
    passphrase = _given_passphrase(settings, passphrase_file)
    if passphrase is None and encrypt:
        passphrase = _prompt_for_passphrase(new=True)
    with termination_as_keyboard_interrupt(), progress() as show:
        report = back_up(
            settings, file, embeddings_only=embeddings_only, passphrase=passphrase, replace=force, on_photos=show
        )
    if json:
        print_json(report.to_json())
    else:
        _print_backup(report)


@app.command(name="restore")
def restore_command(
    file: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="The archive to restore.")],
    only_verify: Annotated[bool, typer.Option("--verify", help="Only check the archive, from end to end.")] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Restore a second gallery beside the first, with a new id.")
    ] = False,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Restore although the photos folder has files of this gallery, because its database is lost.",
        ),
    ] = False,
    passphrase_file: PassphraseFile = None,
    json: JsonOption = False,
) -> None:
    """Restore an archive into a new or empty gallery. All or nothing."""
    settings = get_settings()
    given = _given_passphrase(settings, passphrase_file)

    @cache  # an archive is read twice, but you enter the passphrase only once
    def passphrase() -> str:
        return given or _prompt_for_passphrase(new=False)

    report: Verified | RestoreReport
    with termination_as_keyboard_interrupt():
        if only_verify:
            report = verify(settings, file, passphrase)
        else:
            report = restore(settings, file, passphrase, copy=copy, in_place=in_place)
    if json:
        print_json(report.to_json())
    elif isinstance(report, Verified):
        _print_verified(file, report)
    else:
        _print_restored(settings, report)


def _print_backup(report: BackupReport) -> None:
    say(f"{report.file}: {_contents(report.manifest)}, {report.size:,} bytes, in {report.seconds:.1f} s.")
    photos = report.manifest.photos
    if photos is not None and photos.missing:
        print_error(
            f"{counted(photos.missing, 'photo file is', 'photo files are')} missing in this machine's photos folder "
            "and in the archive:"
        )
        print_error_list(report.missing, photos.missing, "more, listed in the archive")
    if photos is not None and photos.elsewhere:
        print_error(
            f"{counted(photos.elsewhere, 'photo has a file', 'photos have files')} that pgface did not write. "
            "The archive does not include such files."
        )
    _say_other_tables(report.manifest)
    if not report.encrypted:
        say("It contains faces and is not encrypted. Keep it where only you can read it, or add --encrypt.")


def _print_verified(file: Path, verified: Verified) -> None:
    manifest = verified.manifest
    encrypted = "encrypted, " if verified.encrypted else ""
    say(f"{file} is intact: {encrypted}{_contents(manifest)}.")
    say(
        f"Written at {manifest.made_at:%Y-%m-%d %H:%M} UTC by pgface {manifest.pgface} from the schema "
        f"{manifest.schema_name} of PostgreSQL {manifest.postgresql} with pgvector {manifest.pgvector}, model "
        f"{manifest.gallery.model_name or 'none'}. All checksums and row counts match."
    )


def _print_restored(settings: Settings, report: RestoreReport) -> None:
    say(
        f"Restored {_contents(report.verified.manifest)} into the schema {settings.schema_name} in "
        f"{report.seconds:.1f} s. All row counts match the archive."
    )
    if report.beside is not None:
        say(f"The schema {report.beside} contains the gallery that was backed up, so this copy has a new id.")
    if report.model_problem:
        say(f"Before photos can be compared: {report.model_problem}")
    _say_other_tables(report.verified.manifest)


def _contents(manifest: Manifest) -> str:
    if manifest.photos is None:
        return counted(manifest.tables["face_embeddings"], "embedding")
    tables = manifest.tables
    return (
        f"{counted(tables['users'], 'user')}, {counted(tables['photos'], 'photo')} with "
        f"{counted(manifest.photos.files, 'file')}, {counted(tables['face_embeddings'], 'embedding')}"
    )


def _say_other_tables(manifest: Manifest) -> None:
    if manifest.other_tables:
        say(
            "The archive also has tables of other programs, which only pg_restore restores: "
            f"{', '.join(manifest.other_tables)}."
        )


def _given_passphrase(settings: Settings, file: Path | None) -> str | None:
    if file is not None:
        try:
            with file.open(encoding="utf-8") as lines:
                passphrase = lines.readline().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PassphraseError(f"Could not read the passphrase from {file}.") from error
        if not passphrase:
            raise PassphraseError(f"The first line of {file} is empty. Write the passphrase there.")
        return passphrase
    return None if settings.backup_passphrase is None else settings.backup_passphrase.get_secret_value()


def _prompt_for_passphrase(*, new: bool) -> str:
    if not sys.stdin.isatty():
        raise PassphraseError(
            "A passphrase is needed, but there is no terminal to ask on. "
            "Set PGFACE_BACKUP_PASSPHRASE or give --passphrase-file."
        )
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True))
