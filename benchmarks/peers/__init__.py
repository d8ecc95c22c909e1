"""The same work done by others: PyTorch for OPA and for contact, Open3D, libigl and SciPy for distances."""
