# One image for every command; docs/image.md says how to build it, what is left out and why.
# BASE brings Python 3.11 or newer with venv, and a shell. HELM is any image that has the program at /usr/bin/helm.
ARG BASE=docker.io/library/python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b
ARG HELM=docker.io/alpine/helm:3.19.0@sha256:aef9b56f64e866207d9591d0abd8f6d767b36aadd12edf68f8a719716d9d29c9

FROM ${BASE} AS build
ENV UV_LINK_MODE=copy UV_NO_CACHE=1 UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never PYTHONHASHSEED=0
RUN python3 -m venv /build && /build/bin/pip install --quiet --no-cache-dir uv==0.13.9 hatchling==1.33.0
WORKDIR /src
COPY pyproject.toml requirements.lock ./
# EXTRAS may be `alerts`, for chat: apprise would not fit into an image that most use without it.
ARG EXTRAS=
# Left out, since nothing here ever imports them: the client library's asynchronous half, its generated objects (objects
# are plain dicts) and syntax highlighting. tests/image runs every command without them.
RUN python3 -m venv --without-pip /opt/step && \
    printf 'aiohttp\naiohttp-retry\npygments\n' > /build/excludes && \
    /build/bin/uv pip install --quiet --python /opt/step/bin/python --constraint requirements.lock \
      --excludes /build/excludes --requirements pyproject.toml ${EXTRAS:+--extra ${EXTRAS}} && \
    cd /opt/step/lib/python3.*/site-packages/kubernetes && rm -r aio client/api && \
    find client/models -name '*.py' ! -name __init__.py -delete
COPY README.md LICENSE ./
COPY pipeline_step pipeline_step
# By pip: uv would note the time at which it read the wheel.
RUN /build/bin/python -m hatchling build --target wheel && \
    /build/bin/pip --python /opt/step/bin/python install --quiet --no-deps --no-compile dist/*.whl
# Bytecode that is trusted without a look at its source: a date changed for reproducibility would switch others off.
# Slim images come without the bytecode of Python's own library, which would be compiled anew at each start.
RUN /opt/step/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/step/lib && \
    library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') && \
    python3 -m compileall -q -f --invalidation-mode unchecked-hash \
      -x '/(test|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|site-packages|dist-packages)/' "$library" && \
    mkdir /bytecode && find "$library" -name '*.pyc' -not -path '*-packages/*' | tar c --files-from - | tar x -C /bytecode

FROM ${BASE} AS step
ARG VERSION=dev
ARG REVISION=unknown
ARG BASE
LABEL org.opencontainers.image.title="pipeline-step" \
      org.opencontainers.image.description="Progressive delivery for pull requests, as one step of a pipeline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /bytecode /
COPY --from=build /opt/step /opt/step
ENV PATH=/opt/step/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /workspace
ENTRYPOINT ["pipeline-step"]

FROM ${HELM} AS helm

FROM step AS with-helm
COPY --from=helm /usr/bin/helm /usr/local/bin/helm

FROM build AS bill
RUN /build/bin/pip install --quiet --no-cache-dir cyclonedx-bom==7.5.0 && \
    /build/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
      --output-file /pipeline-step.cdx.json /opt/step/bin/python

FROM scratch AS sbom
COPY --from=bill /pipeline-step.cdx.json /

FROM step
