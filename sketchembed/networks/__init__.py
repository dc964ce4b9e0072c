"""The networks: encoders, HyperLSTM, decoders, and SketchEmbedNet which joins them."""

from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet, SketchEncoder

__all__ = ["ModelConfig", "SketchEmbedNet", "SketchEncoder"]
