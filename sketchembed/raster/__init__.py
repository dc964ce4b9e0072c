"""Strokes to pixels: the differentiable raster (paper equations 6 to 10), blur and CUDA kernels."""
