# Trains, draws and tests on a CPU:  docker build -f docker/cpu.Dockerfile -t sketchembed:cpu .
FROM python:3.11-slim-bookworm

# g++ compiles functions for the processor, which trains 1.4 times as fast. Debian keeps only the newest build of a
# package, so a pinned version would soon fail to install.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libcairo2 make \
    && rm -rf /var/lib/apt/lists/*

# Any user may write here, so that `--user $(id -u):$(id -g)` writes files that this user owns.
WORKDIR /home/artist/sketchembed
RUN useradd --home-dir /home/artist --uid 1000 artist \
    && mkdir conf data runs results sweeps \
    && chown --recursive artist:artist /home/artist \
    && chmod 1777 /home/artist . data runs results
USER 1000:1000
ENV HOME=/home/artist USER=artist WANDB_MODE=offline

# The dependencies come first: a change of the code does not invalidate their layer. The wheel's configuration
# folders may still be empty.
COPY --chown=1000:1000 pyproject.toml constraints.txt README.md LICENSE Makefile ./
COPY --chown=1000:1000 sketchembed/_version.py sketchembed/
# The extra index has CPU builds, which pip prefers: 2.13.0+cpu is newer than 2.13.0.
RUN PIP_NO_CACHE_DIR=1 make setup LOCKED=1 TORCH="torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu"
COPY --chown=1000:1000 . .
# A cached layer is older than the files of a new checkout. Without this, `make` would install again.
RUN touch .venv/.ready

VOLUME ["/home/artist/sketchembed/data", "/home/artist/sketchembed/runs"]
CMD ["make", "train-quickdraw"]
