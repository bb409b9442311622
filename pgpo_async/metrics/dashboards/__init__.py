"""Grafana dashboards, made of the registry's metrics: which panels, and the Classic JSON of them.

foreign     series of other programs: vLLM's, Prometheus's own
panel       what a dashboard is made of
classic     its JSON, as Grafana 10 and 11 import it
overview, learning, pipeline, generators, health
            the panels of each
catalogue   all five, every query of theirs, and what they leave out
"""
