"""Drawings generated from one image, by arithmetic and by interpolation of embeddings."""
