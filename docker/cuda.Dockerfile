# Trains on NVIDIA GPUs:  docker build -f docker/cuda.Dockerfile -t sketchembed:cuda .
#                         docker run --gpus all --ipc=host sketchembed:cuda
# The shared memory of the host is for several GPUs and for loader processes: Docker's own 64 MB are too few.
FROM python:3.11-slim-bookworm

# Triton compiles its launchers with gcc. Debian keeps only the newest build of a package, so a version named
# here could not be installed for long.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libcairo2 make \
    && rm -rf /var/lib/apt/lists/*

# Whoever runs it may write here, so that `--user $(id -u):$(id -g)` gives files of one's own.
WORKDIR /home/artist/sketchembed
RUN useradd --home-dir /home/artist --uid 1000 artist \
    && mkdir data runs results \
    && chown --recursive artist:artist /home/artist \
    && chmod 1777 /home/artist . data runs results
USER 1000:1000
ENV HOME=/home/artist USER=artist WANDB_MODE=offline
# What of the driver is to be let in, for runtimes that are not told by `--gpus`.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# What the packages depend on comes first: a change of the code leaves their layer as it is.
COPY --chown=1000:1000 pyproject.toml README.md LICENSE Makefile ./
COPY --chown=1000:1000 sketchembed/_version.py sketchembed/
# The registry's Linux build of torch carries CUDA.
RUN PIP_NO_CACHE_DIR=1 make setup TORCH="torch==2.13.0"
COPY --chown=1000:1000 . .
# A layer from the cache is older than files of a new checkout, which would have `make` install anew.
RUN touch .venv/.ready

VOLUME ["/home/artist/sketchembed/data", "/home/artist/sketchembed/runs"]
CMD ["make", "train-quickdraw"]
