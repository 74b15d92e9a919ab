"""The sentences of `pgface serve`, `pgface worker` and `pgface healthcheck`."""

from __future__ import annotations

from pgface.system.extras import how_to_install
from support.sentences import Sentence

# It has started.
SERVING = Sentence("Serving {model} at {url}")

WORKER_WAITS = Sentence("The worker waits for jobs. Press Ctrl-C to stop.")

# It cannot listen.
CANNOT_LISTEN = Sentence("The service cannot listen at {host}, port {port}: {reason}. Give another `host` or `port`.")
COMMAND_CANNOT_LISTEN = Sentence(
    "The service cannot listen at {host}, port {port}: {reason}. Give another `--host` or `--port`."
)
HOST_HAS_NO_ADDRESS = Sentence("The host '{host}' has no address.")

# The certificate or its key cannot be used.
KEY_WITHOUT_CERTIFICATE = Sentence("The `key` is of no use without its `certificate`. Give both.")
FILES_CANNOT_BE_READ = Sentence("{files} cannot be read ({reason})")
CERTIFICATE_CANNOT_BE_USED = Sentence("The certificate {certificate} cannot be used with its key")
GIVE_BOTH_AS_PEM = Sentence("({reason}). Give both as PEM")
KEY_IS_ENCRYPTED = Sentence("The certificate's key is encrypted")

# It cannot start.
PACKAGE_IS_MISSING = Sentence(f"The service needs the package {{package}}. Install it with {how_to_install('server')}.")
MODEL_IS_NOT_INSTALLED = Sentence("The model {model} is not installed")
MODEL_OF_THE_EMBEDDINGS_IS_UNKNOWN = Sentence("Set it with `pgface init --model`.")
ROLE_MAY_NOT_BIND = Sentence("Run `pgface init` as the gallery's owner.")
COULD_NOT_START = Sentence("The service could not start. Its log above says why.")

# `pgface healthcheck`.
IS_READY = Sentence("{url} says that the service is ready.")
ANSWERS = Sentence("{url} says that the service answers.")
NOT_READY = Sentence("{url} responds with status 503: {reason}.")
DATABASE_IS_AWAY = "PostgreSQL cannot be reached, or refuses the service"
TABLES_ARE_OF_ANOTHER_VERSION = "the tables are of another version. Run `pgface init`"
NOT_PGFACE = Sentence("{url} responds with status {status}: this is not pgface")
NO_ANSWER_WITHIN = Sentence("{url} did not respond within {seconds} seconds. The service is starting, or too busy.")
SERVICE_CANNOT_BE_REACHED = Sentence("{url} cannot be reached: {reason}. Check that the service runs")
GIVE_THE_CERTIFICATE_HERE_TOO = Sentence("{url} sent a response that cannot be read (...). If the service uses TLS")
GIVE_NO_CERTIFICATE_HERE = Sentence("{url} sent a response that cannot be read (...). If the service does not use TLS")
