"""Views over a run: the run card, plan, policies, timeline, panel. No rule is decided here.

Import from the modules: the workflow sandbox must never come across ipywidgets.
"""
