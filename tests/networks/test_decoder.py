"""Check that a decoder gives the same result for a whole sequence as step by step."""

from __future__ import annotations

import pytest
import torch

from sketchembed.networks.decoder import HyperLSTMDecoder, LSTMDecoder, StrokeDecoder
from sketchembed.networks.hyperlstm.packing import Packing
from sketchembed.networks.mixture import GaussianMixture

LATENT, HIDDEN, MIXTURES = 6, 8, 4


def decoders() -> list[StrokeDecoder]:
    torch.manual_seed(0)
    return [
        HyperLSTMDecoder(LATENT, HIDDEN, 5, 3, MIXTURES, "released"),
        HyperLSTMDecoder(LATENT, HIDDEN, 5, 3, MIXTURES, "ha2017"),
        LSTMDecoder(LATENT, HIDDEN, MIXTURES),
    ]


def unroll(decoder, strokes, z):
    """Return the decoder's outputs for all steps."""
    packing = Packing.of(None, *strokes.shape[:2], strokes.device)
    return packing.unpack(decoder.run(strokes, z, decoder.initial_state(z), packing)[0])


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    strokes = torch.randn(3, 9, 5, generator=generator, dtype=dtype)
    return strokes, torch.randn(3, LATENT, generator=generator, dtype=dtype)


@pytest.mark.parametrize("number", range(3))
def test_whole_sequence_equals_single_steps(number):
    decoder, (strokes, z) = decoders()[number].double(), batch(torch.float64)
    whole = unroll(decoder, strokes, z)
    state = decoder.initial_state(z)
    for step in range(9):
        x = torch.cat([strokes[:, step], z], dim=-1)
        if isinstance(decoder, HyperLSTMDecoder):
            state = decoder.cell(x, state)
            out = state.h
        else:
            # The equations of an LSTM, with the gates in PyTorch's order.
            lstm, (h, c) = decoder.lstm, state
            gates = x @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h[0] @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
            i, f, g, o = gates.chunk(4, dim=-1)
            cell = f.sigmoid() * c[0] + i.sigmoid() * g.tanh()
            out = o.sigmoid() * cell.tanh()
            state = (out[None], cell[None])
        torch.testing.assert_close(whole[:, step], out)


@pytest.mark.parametrize("number", range(3))
def test_sequence_continues_from_a_given_state(number):
    decoder, (strokes, z) = decoders()[number], batch()
    whole, _ = decoder(strokes, z)
    first, state = decoder(strokes[:, :4], z)
    second, _ = decoder(strokes[:, 4:], z, state)
    torch.testing.assert_close(whole.pen_logits, torch.cat([first.pen_logits, second.pen_logits], 1))
    for expected_part, before, after in zip(whole.mixture, first.mixture, second.mixture, strict=True):
        torch.testing.assert_close(expected_part, torch.cat([before, after], 1))


@pytest.mark.parametrize("number", range(3))
def test_outputs_are_the_split_output_of_the_head(number):
    decoder, (strokes, z) = decoders()[number], batch()
    (logits, mixture), _ = decoder(strokes, z)
    out = unroll(decoder, strokes, z)
    output = out @ decoder.head.weight.T + decoder.head.bias
    torch.testing.assert_close(logits, output[..., :3])
    for ours, expected in zip(mixture, GaussianMixture.from_output(output[..., 3:]), strict=True):
        torch.testing.assert_close(ours, expected)


def test_initial_state_has_the_released_order():
    decoder, (_, z) = decoders()[0], batch()
    whole = torch.tanh(z @ decoder.state_from_z.weight.T + decoder.state_from_z.bias)
    torch.testing.assert_close(torch.cat(decoder.initial_state(z), dim=-1), whole)
    assert [part.shape[1] for part in decoder.initial_state(z)] == [HIDDEN, 5, HIDDEN, 5]


def test_parameter_counts_equal_the_released_code():
    decoder = HyperLSTMDecoder(256, 1024, 512, 64, 30)
    count = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in (("head", decoder.head), ("state", decoder.state_from_z))
    }
    assert count == {"head": 187_575, "state": 789_504}


@pytest.mark.parametrize("number", range(3))
def test_autocast_runs_and_returns_float32(number):
    decoder, (strokes, z) = decoders()[number], batch()
    plain, _ = decoder(strokes, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (logits, mixture), state = decoder(strokes, z)
    assert logits.dtype == torch.float32
    assert all(part.dtype == torch.float32 for part in mixture)
    torch.testing.assert_close(logits, plain.pen_logits, atol=0.05, rtol=0.05)
    if isinstance(decoder, HyperLSTMDecoder):
        assert all(part.dtype == torch.float32 for part in state)


def test_base_decoder_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        StrokeDecoder(LATENT, HIDDEN, HIDDEN, MIXTURES)


def test_skipping_padding_keeps_outputs_before_the_end():
    for decoder in decoders():
        strokes, z = batch()
        lengths = torch.tensor([4, 9, 1])
        whole, _ = decoder(strokes, z)
        short, _ = decoder(strokes, z, lengths=lengths)
        for drawing, length in enumerate(lengths.tolist()):
            torch.testing.assert_close(short.pen_logits[drawing, :length], whole.pen_logits[drawing, :length])
            torch.testing.assert_close(
                short.mixture.mean[drawing, :length], whole.mixture.mean[drawing, :length]
            )
