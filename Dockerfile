# The image of the migration step and of every worker: one virtual environment, no root.
# The stage that builds it has a C compiler, for the Longformer's kernels on CPUs; so has the last one, since
# Triton builds with it what starts its kernels on a GPU.
#
#   docker build -t postq .                                     everything (torch's default wheels: CUDA)
#   docker build -t postq --build-arg EXTRAS=tfidf,postgres,redis .  TF-IDF only, small
#   docker build -t postq --build-arg PIP_EXTRA_INDEX_URL=... .  wheels from another index, such as CPU-only torch

FROM python:3.11 AS build
ARG EXTRAS=all
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/postq
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY postq ./postq
RUN /opt/postq/bin/python -m pip install --constraint constraints.txt ".[${EXTRAS}]" \
    && /opt/postq/bin/python -m pip uninstall --yes pip

FROM python:3.11-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 postq \
    && useradd --uid 10001 --gid postq --no-create-home --home-dir /var/lib/postq --shell /usr/sbin/nologin postq \
    && install --directory --owner=postq --group=postq --mode=0750 /var/lib/postq
COPY --from=build /opt/postq /opt/postq
ENV PATH=/opt/postq/bin:$PATH \
    POSTQ_HOME=/var/lib/postq \
    POSTQ_LOG_FORMAT=json \
    HF_HOME=/var/lib/postq/huggingface \
    TRITON_CACHE_DIR=/var/lib/postq/triton \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TOKENIZERS_PARALLELISM=false
USER 10001:10001
WORKDIR /var/lib/postq
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["postq", "worker", "--ping"]
CMD ["postq", "worker", "--device", "cpu"]
