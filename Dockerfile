# windlass as an image: the server, its workers and the command line. How to run it: docs/deploy.md.
# BASE may be any Debian with python3 (3.11 or newer) and its venv.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
# Process 1 of the image: it takes in the orphans of handlers that start programs of their own.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends tini >/dev/null
WORKDIR /source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements/bootstrap.txt requirements/base.txt requirements/
# The secret is for an index of one's own (docs/deploy.md): it reaches no layer. Wheels alone, since nothing here compiles.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /tools \
 && /tools/bin/python -m pip install -q --only-binary :all: --require-hashes -r requirements/bootstrap.txt \
 && python3 -m venv --without-pip /opt/windlass \
 && /tools/bin/python -m pip --python /opt/windlass/bin/python \
    install -q --only-binary :all: --require-hashes -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /tools/bin/python -m pip wheel -q --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /tools/bin/python -m pip --python /opt/windlass/bin/python install -q --no-index --no-deps /wheels/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="windlass" \
      org.opencontainers.image.description="Takes long work over HTTP, keeps it safely, runs it on workers." \
      org.opencontainers.image.licenses="MIT"
# A number, so that Kubernetes can see that it is not root; /files is for servers that share a database.
RUN groupadd --gid 10001 windlass \
 && useradd --uid 10001 --gid windlass --no-create-home --home-dir /data --no-log-init --shell /usr/sbin/nologin windlass \
 && install -d -o windlass -g windlass -m 0750 /data /files \
 && install -d /app
COPY --from=build /usr/bin/tini /usr/bin/tini
COPY --from=build /opt/windlass /opt/windlass
ENV PATH=/opt/windlass/bin:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin \
    WINDLASS_HOST=0.0.0.0 \
    WINDLASS_DATA=/data
WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8080
# Whether the server turns, not whether it is ready: a full disk or a drain is no reason to start it again.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('WINDLASS_PORT', '8080')), timeout=4); server.request('GET', '/healthz'); sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["tini", "--", "windlass"]
CMD ["serve"]
