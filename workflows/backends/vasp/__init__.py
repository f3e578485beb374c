"""VASP through atomate2's makers."""
