# Trains on NVIDIA GPUs:  docker build -f docker/cuda.Dockerfile -t sketchembed:cuda .
#                         docker run --gpus all --ipc=host sketchembed:cuda
# Several GPUs and loader processes need the host's shared memory: Docker's default of 64 MB is too small.
FROM python:3.11-slim-bookworm

# Triton compiles its launchers with gcc. Debian keeps only the newest build of a package, so a pinned
# version would soon fail to install.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libcairo2 make \
    && rm -rf /var/lib/apt/lists/*

# Any user may write here, so that `--user $(id -u):$(id -g)` writes files that this user owns.
WORKDIR /home/artist/sketchembed
RUN useradd --home-dir /home/artist --uid 1000 artist \
    && mkdir conf data runs results sweeps \
    && chown --recursive artist:artist /home/artist \
    && chmod 1777 /home/artist . data runs results
USER 1000:1000
ENV HOME=/home/artist USER=artist WANDB_MODE=offline
# Driver capabilities for runtimes without `--gpus`.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The dependencies come first: a change of the code does not invalidate their layer. The wheel's configuration
# folders may still be empty.
COPY --chown=1000:1000 pyproject.toml constraints.txt README.md LICENSE Makefile ./
COPY --chown=1000:1000 sketchembed/_version.py sketchembed/
# The registry's Linux build of torch carries CUDA.
RUN PIP_NO_CACHE_DIR=1 make setup LOCKED=1 TORCH="torch==2.13.0"
COPY --chown=1000:1000 . .
# A cached layer is older than the files of a new checkout. Without this, `make` would install again.
RUN touch .venv/.ready

VOLUME ["/home/artist/sketchembed/data", "/home/artist/sketchembed/runs"]
CMD ["make", "train-quickdraw"]
