"""`pgface migrate --compreface`: move CompreFace's subjects and images into the gallery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgface.cli.named_gallery import named_gallery
from pgface.cli.options import FaceChoice
from pgface.cli.output import print_error, print_error_list, print_json, progress, say
from pgface.errors import DatabaseUnreachableError
from pgface.operations.compreface.migrate import migrate_compreface
from pgface.operations.compreface.report import CompreFaceReport, ServiceReport
from pgface.settings import get_settings
from pgface.text import counted, shown


def migrate_from_compreface(
    source: str,
    *,
    api_key: str | None,
    model: str | None,
    face: FaceChoice,
    merge: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run the migration with a progress bar, and print its report."""
    named = named_gallery()
    with _hint_to_rerun(), progress() as show:
        report = migrate_compreface(
            source,
            get_settings() if named is None else named.home,
            api_key=api_key,
            gallery=None if named is None else named.name,
            model=model,
            face=face,
            merge=merge,
            dry_run=dry_run,
            on_progress=show,
        )
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)


@contextmanager
def _hint_to_rerun() -> Iterator[None]:
    """Print how to continue a run that ends early."""
    how = "What was moved so far stays in the gallery. Run the same command to continue."
    try:
        yield
    except DatabaseUnreachableError as error:
        raise DatabaseUnreachableError(f"{error} {how}") from error
    except KeyboardInterrupt:
        print_error(f"Interrupted. {how}")
        raise


def _print(report: CompreFaceReport) -> None:
    for service in report.services:
        _print_service(service, dry_run=report.dry_run)
    _print_keys(report)
    if report.dry_run:
        not_checked = f" {report.not_checked}" if report.not_checked else ""
        say(f"Dry run: nothing was written.{not_checked}")
        return
    checked = sum(service.searched for service in report.services)
    if not report.keys.added and not any(service.moved or service.new_subjects for service in report.services):
        say("Everything that can be moved is in the gallery already. Nothing was changed.")
        return
    say(
        f"Migrated in {report.seconds:.1f} s, embedded with {report.model}. Verified that "
        f"{counted(checked, 'face finds its subject', 'faces find their subjects')} first."
    )


def _print_keys(report: CompreFaceReport) -> None:
    keys = report.keys
    was, were = ("would be", "would be") if report.dry_run else ("was", "were")
    if keys.added:
        added = counted(keys.added, f"key of a service {was}", f"keys of services {were}")
        say(f"{added} added. Clients keep their keys.")
    if report.has_demo:
        say("The keys of CompreFace's demo were left out, because anyone knows them.")
    if keys.refused:
        print_error(f"{counted(len(keys.refused), 'key was', 'keys were')} not added:")
        print_error_list(keys.refused)


def _print_service(service: ServiceReport, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    title = shown(f"{service.application}/{service.service}")
    title += f" (gallery {service.gallery})" if service.gallery else ""
    before = f", {service.moved_before:,} were moved before" if service.moved_before else ""
    say(
        f"{title}: {counted(service.subjects, 'subject')}, {service.new_subjects:,} {would}added. "
        f"{counted(service.examples, 'image')}, {service.moved:,} {would}moved{before}."
    )
    if service.same_subjects:
        say(
            f"{counted(service.same_subjects, 'subject has', 'subjects have')} the name of another one in other upper "
            "and lower case. They become one user."
        )
    if service.repeated:
        say(
            f"{counted(service.repeated, 'image is a copy', 'images are copies')} of another one of its subject. "
            "Both ids stay valid."
        )
    if service.odd_names:
        print_error(
            f"{counted(len(service.odd_names), 'subject has', 'subjects have')} a name that cannot be shown. The user "
            "has another one:"
        )
        print_error_list(service.odd_names)
    if service.without_image:
        say(
            f"{counted(service.without_image, 'embedding has', 'embeddings have')} no stored image, so pgface cannot "
            "embed it. The subjects stay."
        )
    if service.not_moved:
        print_error(f"{counted(len(service.not_moved), 'image')} cannot be embedded. The subjects stay:")
        print_error_list([f"{one.subject}: {one.reason}" for one in service.not_moved])
