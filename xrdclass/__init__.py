"""Teach a neural network to tell crystal phases apart by their powder X-ray diffraction patterns.

Modules are imported by name.  In the order of the data, with the lesson that teaches each:

lesson  module                 holds
------  ---------------------  -------------------------------------------------------------
        errors                 errors whose message is a sentence for the user
        exercises              what the checks of the exercises say
01      phases                 Phase, load_phases: crystal structures from CIF files
01 02   diffraction            where lines lie and how strong they are
03      patterns               the two-theta grid, sets of patterns, scaling, resampling
02      simulation             ranges of samples and instruments; peaks, widths, patterns
03      noise                  background and counting statistics
03 06   scans                  Scan, read_scan: measured scans from files
03 06   rruff                  the RRUFF scans of the tutorial
04      models                 the networks of the lessons, in Keras
05      training               Classifier, fit
06 07   evaluation             what answers are worth: findings, calibration, occlusion
08      identify.foreign       invented crystals, to learn what is none of the phases
08 09   identify.mixtures      mixtures as laboratories measure them
08      identify.second_opinion  are a phase's lines in the scan?
08 09   identify.identifier    Identifier: which phases, how much of each, what else
        plots                  every figure
        widgets                sliders and the upload button
        __main__               the command line

`files` holds all that trusts neither disk nor network, which no lesson opens: files.writing,
files.downloads, and the readers of scans, files.reading (limits), files.wavelengths, files.text,
files.columns, files.listings and files.instruments.  It knows nothing of the other modules but
errors, and any of them may ask it.
"""

__version__ = "0.1.0"
