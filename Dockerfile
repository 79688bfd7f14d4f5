# A worker, or any other `quorum` command: `docker build -t quorum:local .`. Runs as nobody in particular, writes to
# /tmp alone. What is installed is what the lock hashes.
FROM python:3.12.11-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/quorum
COPY requirements requirements
# Of the tools' lock only setuptools is wanted, and only to build.
RUN sed -n '/^setuptools==/,/# via/p' requirements/dev.lock > requirements/build.lock \
    && pip install --quiet --require-hashes --only-binary :all: -r requirements/build.lock \
    && /opt/quorum/bin/pip install --quiet --require-hashes --only-binary :all: -r requirements/runtime.lock
COPY . .
RUN pip wheel --quiet --no-index --no-build-isolation --no-deps --wheel-dir /dist . \
    && /opt/quorum/bin/pip install --quiet --no-index --no-deps /dist/quorum-*.whl

FROM python:3.12.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin quorum
COPY --from=build /opt/quorum /opt/quorum
# Compiled kernels go where the container may write.
ENV PATH=/opt/quorum/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/tmp/numba
USER 10001
WORKDIR /tmp
ENTRYPOINT ["quorum"]
CMD ["--help"]
