"""Strokes to pixels: the differentiable raster (paper eq. 6 to 10), blur and CUDA kernels."""
