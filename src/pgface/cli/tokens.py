"""`pgface tokens`: the sessions of users."""

from __future__ import annotations

import typer

from pgface.accounts import COMMAND_LINE, Accounts, prune_logins
from pgface.accounts.attempts import prune_attempts
from pgface.cli.options import JsonOption, UserArgument, user_ref
from pgface.cli.output import print_result, print_results, when
from pgface.database.pool import Database
from pgface.gallery import Gallery
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer()


@app.command("list")
def list_tokens(user: UserArgument, json: JsonOption = False) -> None:
    """List a user's active sessions. The tokens themselves are not stored."""
    with Gallery.open() as gallery:
        logins = Accounts(gallery).logins(user_ref(user))
    print_results(
        logins,
        json,
        ("id", "confidence", "since", "until"),
        lambda login: (login.id, f"{login.confidence:.4f}", when(login.created_at), when(login.expires_at)),
        empty="This user has no sessions.",
    )


@app.command()
def revoke(user: UserArgument, json: JsonOption = False) -> None:
    """End all sessions of a user."""
    with Gallery.open() as gallery:
        ended = Accounts(gallery).log_out_everywhere(user_ref(user), client=COMMAND_LINE)
    print_result({"ended": ended}, f"Ended {counted(ended, 'session')}.", json)


@app.command()
def prune(json: JsonOption = False) -> None:
    """Delete expired sessions, and failed attempts that no longer count."""
    with Database.open(get_settings()) as database:
        removed = prune_logins(database)
        prune_attempts(database)
    print_result({"removed": removed}, f"Deleted {counted(removed, 'expired session')}.", json)
