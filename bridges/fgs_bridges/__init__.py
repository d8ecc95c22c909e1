"""From a text or a photo to a scene: the PyTorch side of fgs_jax, and how every outside result gets in.

Nothing heavy is imported before a back end is made: `fgs_bridges.registry.create("segmenter", "sam2")`.
"""
