"""Teach a neural network to tell crystal phases apart by their powder X-ray diffraction patterns.

Modules are imported by name.  In the order of the data, with the lesson that teaches each:

lesson  module                 holds
------  ---------------------  -------------------------------------------------------------
        errors                 errors whose message is a sentence for the user
        settings               settings that are declared once: checked, documented, printed
01      phases                 Phase, load_phases: crystal structures from CIF files
01 02   diffraction            where lines lie and how strong they are
03      patterns               the two-theta grid, sets of patterns, scaling, resampling
02      simulation             ranges of samples and instruments; peaks, widths, patterns
03      noise                  background and counting statistics
03 06   scans                  Scan, read_scan: measured scans from files
03 06   rruff                  the RRUFF scans of the tutorial
03 06   findings               Finding, on_grid: what is said of a scan, and a scan on a grid
04      models                 the networks of the lessons, in Keras
05      training               Classifier, fit
06 07   evaluation             what answers are worth: likeness, attention, calibration
08      identify.foreign       invented crystals, to learn what is none of the phases
08      identify.laboratory    Laboratory: ranges and probabilities of samples and instruments
08 09   identify.mixtures      mixtures as laboratories measure them
08      identify.background    scans above their background, and what the network sees of them
08      identify.network       the proposing network's forward pass, in NumPy
09      identify.profile       a phase's lines, ready to be fitted: places, strengths, shapes
09      identify.start         a scan's noise and background, and where lines may lie
09      identify.fitting       Model: all parameters of a fit, steps downhill, errors
09      identify.evidence      what speaks for a phase in a fit, and how probable it is
09      identify.refinement    refine: known phases fitted to a scan, their weights and cells
08 09   identify.identifier    Identifier, load_model: which phases, how much of each, what else
10      identify.train         train_identifier
        check                  what a folder of CIF files gives: densities, distances, twins
        plots                  every figure
01 04   drawings               unit cells, Bragg's law, kernels and layers
        answers                what is printed and drawn of each scan
        reports                answers as a page
        widgets                sliders and the upload button
        __main__               the command line

`files` holds all that trusts neither disk nor network, which no lesson opens: files.writing,
files.downloads, files.wavelengths, files.reading, files.columns, files.text, files.listings,
files.instruments, files.cif, files.cif_writing, files.quiet_keras, files.networks and
files.kept_runs.  It knows nothing of the other modules but errors, and any of them may ask it.
`exercises` holds what the checks of each lesson's exercises say, in lesson_01 to lesson_10; none
of the other modules asks for it.
"""

__version__ = "0.1.0"
