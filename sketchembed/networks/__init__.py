"""The networks: encoders, HyperLSTM, decoders, and SketchEmbedNet which joins them."""

from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet

__all__ = ["ModelConfig", "SketchEmbedNet"]
