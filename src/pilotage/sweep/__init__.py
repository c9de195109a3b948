"""Sweeps: sampling settings -> images -> features -> numbers, a row each.

``yardstick`` has the real images and the extractor, ``measure`` turns images into numbers,
``captioned`` says what a run on captions is asked for and ``marks`` what an image has right of it.
``table`` keeps the rows so that nothing is lost or counted twice. ``cells`` lists the settings,
``baselines`` measures what no model has made, ``grid`` goes over the settings. ``speed`` times
them, side by side.
"""
