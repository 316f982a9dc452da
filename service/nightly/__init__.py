"""Nightly scans: schedules, the nights that became of them, and the tracks of what was seen night after night.

A schedule names an area, where its imagery comes from, when, and what it is compared with. Every due time becomes one
`Night`, whatever happens: it was scanned, its imagery did not show the area, it failed, or it was missed. Nothing that
was not seen is ever called clear.
"""
