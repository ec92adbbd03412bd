# One image for every command. BASE brings Python 3.11 or newer and a shell; a build may replace it, by digest at best.
ARG BASE=docker.io/library/python:3.13-slim

FROM ${BASE} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
RUN python3 -m venv /build && /build/bin/pip install --quiet uv==0.13.9 && python3 -m venv --without-pip /opt/step
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY pipeline_step pipeline_step
RUN /build/bin/uv pip install --quiet --python /opt/step/bin/python --constraint requirements.lock .

FROM ${BASE}
LABEL org.opencontainers.image.title="pipeline-step" \
      org.opencontainers.image.description="Progressive delivery for pull requests, as one step of a pipeline" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/step /opt/step
ENV PATH=/opt/step/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 65532:65532
WORKDIR /workspace
ENTRYPOINT ["pipeline-step"]
