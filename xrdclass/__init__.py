"""Teach a neural network to tell crystal phases apart by their powder X-ray diffraction patterns.

Import the modules by name, in the order in which data flow: phases, diffraction, simulation,
noise, patterns; scans and rruff for measured patterns; models, training, evaluation and plots.
"""

__version__ = "0.1.0"
