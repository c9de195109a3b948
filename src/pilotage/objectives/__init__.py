"""Objectives: what a network is trained for, as terms per example."""

from pilotage.objectives.denoising import Denoising, Draws, stratified

__all__ = ["Denoising", "Draws", "stratified"]
