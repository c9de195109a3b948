"""Sweeps: sampling settings -> images -> features -> numbers, a row each.

``evaluator`` has the real images and the extractor, ``eval_prompts`` has the prompts of a run on
captions and ``per_sample`` what an image has right of it. ``table`` keeps the rows so that nothing
is lost or counted twice, ``rows`` is their schema, ``curves`` sorts them into curves over w,
``best`` says which w is best and how sure that is. ``grid_points`` lists the settings,
``baselines`` measures what no model has made, ``grid`` goes over the settings. ``speed`` times
them, side by side.
"""
