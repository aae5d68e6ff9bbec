"""What a study keeps on disk: its manifest, trials, trainings and events. Everything shown is derived from them.

Only the process that drives a study writes here, apart from the results that workers leave in their folders.
"""
