"""Using a model imports no heavy package, and `sketchembed` exposes only its public names."""

import subprocess
import sys

import pytest

import sketchembed

HEAVY = {
    *("pytorch_lightning", "lightning_fabric", "torchmetrics", "wandb"),
    *("matplotlib", "scipy", "skimage", "sklearn", "umap"),
    *("jsonargparse", "yaml", "sympy", "torch._dynamo", "torch.fx.experimental.symbolic_shapes"),
}
USES = {
    "import": "import sketchembed; sketchembed.load",
    "load": "import sketchembed; sketchembed.load('quickdraw-conv4')",
    "load a classifier": "import sketchembed; sketchembed.load_network('seen-classifier')",
    "draw": "import sketchembed, torch; sketchembed.load('photos-resnet12').draw(torch.rand(1, 3, 84, 84))",
    "read": "import sketchembed; sketchembed.read_drawing",
}


def imported(code):
    """Return the names of all modules that a fresh process has imported after `code`."""
    code += "; import sys; print('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("use", USES)
def test_using_a_model_imports_nothing_heavy(use):
    assert not imported(USES[use]) & HEAVY


def test_importing_the_package_does_not_import_torch():
    assert "torch" not in imported("import sketchembed")


def test_package_exposes_its_public_names():
    assert dir(sketchembed) == sorted(sketchembed.__all__)
    for name in sketchembed.__all__:
        assert getattr(sketchembed, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'wings'"):
        _ = sketchembed.wings
