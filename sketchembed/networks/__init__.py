"""The networks: encoders, HyperLSTM, decoders, SketchEmbedNet and the baselines."""

from sketchembed.networks.sketchembednet import ModelConfig, SketchEmbedNet, SketchEncoder

__all__ = ["ModelConfig", "SketchEmbedNet", "SketchEncoder"]
