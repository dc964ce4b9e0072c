# Trains on NVIDIA GPUs:  docker build -f docker/cuda.Dockerfile -t sketchembed:cuda .
#                         docker run --gpus all --ipc=host sketchembed:cuda
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev libcairo2 make \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home artist
WORKDIR /home/artist/sketchembed
RUN chown artist:artist .
USER artist

COPY --chown=artist:artist pyproject.toml README.md LICENSE Makefile ./
COPY --chown=artist:artist sketchembed sketchembed
COPY --chown=artist:artist conf conf
COPY --chown=artist:artist tests tests
# The registry's Linux build of torch carries CUDA; gcc is what Triton builds its launchers with.
RUN make setup TORCH="torch==2.13.0"

ENV WANDB_MODE=offline SKETCHEMBED_DATA=/home/artist/sketchembed/data
VOLUME ["/home/artist/sketchembed/data", "/home/artist/sketchembed/runs"]
CMD ["make", "train-quickdraw"]
