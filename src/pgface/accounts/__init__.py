"""Accounts of the gallery's users: passwords, sessions, limits on attempts, API keys, and the audit log."""

from pgface.accounts.accounts import Accounts
from pgface.accounts.administrators import (
    Administrator,
    add_administrator,
    administrator_rights,
    list_administrators,
    remove_administrator,
)
from pgface.accounts.audit_log import AuditEntry, addresses_of_logins, prune_audit, read_audit
from pgface.accounts.challenges import Challenge
from pgface.accounts.client import COMMAND_LINE, Client
from pgface.accounts.face_login import FaceLogin
from pgface.accounts.keys import SCOPES, ApiKey, create_key, find_key, list_keys, revoke_key
from pgface.accounts.sessions import Login, LoginOfUser, NewLogin, prune_logins

__all__ = [
    "COMMAND_LINE",
    "SCOPES",
    "Accounts",
    "Administrator",
    "ApiKey",
    "AuditEntry",
    "Challenge",
    "Client",
    "FaceLogin",
    "Login",
    "LoginOfUser",
    "NewLogin",
    "add_administrator",
    "addresses_of_logins",
    "administrator_rights",
    "create_key",
    "find_key",
    "list_administrators",
    "list_keys",
    "prune_audit",
    "prune_logins",
    "read_audit",
    "remove_administrator",
    "revoke_key",
]
