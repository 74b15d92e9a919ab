"""`pgface tokens`: the sessions of users."""

from __future__ import annotations

import typer

from pgface.accounts import (
    COMMAND_LINE,
    Accounts,
    prune_logins,
)
from pgface.accounts.attempts import prune_attempts
from pgface.cli.options import user_ref
from pgface.cli.output import JsonOption, print_json, print_table, say, when
from pgface.cli.users import UserArgument
from pgface.database.pool import Database
from pgface.gallery import Gallery
from pgface.settings import get_settings
from pgface.text import counted

app = typer.Typer(help="List and end users' sessions.", no_args_is_help=True)


@app.command("list")
def list_tokens(user: UserArgument, json: JsonOption = False) -> None:
    """List a user's active sessions. The tokens themselves are not stored."""
    with Gallery.open() as gallery:
        logins = Accounts(gallery).logins(user_ref(user))
    if json:
        print_json([login.to_json() for login in logins])
        return
    rows = [(one.id, f"{one.confidence:.4f}", when(one.created_at), when(one.expires_at)) for one in logins]
    print_table(("id", "confidence", "since", "until"), rows, empty="This user has no sessions.")


@app.command()
def revoke(user: UserArgument, json: JsonOption = False) -> None:
    """End all sessions of a user."""
    with Gallery.open() as gallery:
        ended = Accounts(gallery).log_out_everywhere(user_ref(user), client=COMMAND_LINE)
    if json:
        print_json({"ended": ended})
    else:
        say(f"Ended {counted(ended, 'session')}.")


@app.command()
def prune(json: JsonOption = False) -> None:
    """Delete expired sessions, and failed attempts that no longer count."""
    with Database.open(get_settings()) as database:
        removed = prune_logins(database)
        prune_attempts(database)
    if json:
        print_json({"removed": removed})
    else:
        say(f"Deleted {counted(removed, 'expired session')}.")
