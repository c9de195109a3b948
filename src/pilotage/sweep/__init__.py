"""Sweeps: sampling settings -> images -> features -> numbers, a row each.

``measure`` turns images into numbers, ``table`` keeps the rows so that nothing is lost or counted
twice, ``grid`` goes over the settings. ``speed`` times them, side by side.
"""
