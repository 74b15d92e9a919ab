# syntax=docker/dockerfile:1

# The Python and the Debian that the tests run on.
ARG PYTHON=3.11.14-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY deploy/build.txt deploy/requirements.txt ./
RUN python -m venv /opt/pgface \
    && pip install --no-deps --require-hashes -r build.txt \
    && /opt/pgface/bin/pip install --no-deps --require-hashes --use-pep517 -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
# What only installs has no place in the image.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/pgface/bin/pip install --no-deps wheels/*.whl \
    && /opt/pgface/bin/pip uninstall --yes setuptools pip

FROM python:${PYTHON}
# Numbers, not names: a file that is handed to the container belongs to somebody of the machine, and so do volumes.
ARG UID=1000
ARG GID=1000
COPY --from=build /opt/pgface /opt/pgface
RUN install -d -m 0700 -o "${UID}" -g "${GID}" /var/lib/pgface
ENV PATH=/opt/pgface/bin:$PATH \
    HOME=/tmp \
    PGFACE_DATA_DIR=/var/lib/pgface \
    PYTHONDONTWRITEBYTECODE=1
USER ${UID}:${GID}
WORKDIR /var/lib/pgface
EXPOSE 8000
# Not by urllib, which would go through a proxy that the container may be told of.
HEALTHCHECK --interval=10s --timeout=10s --start-period=1m --retries=5 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=5); c.request('GET', '/readyz'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["pgface"]
CMD ["serve", "--host", "0.0.0.0"]
