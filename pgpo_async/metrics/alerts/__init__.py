"""Alert rules for Prometheus, each made of the registry's metrics.

limits      the thresholds, each named once; the dashboards draw the same
alert       what an alert is, and what its query must hold to
*_alerts    the alerts: of the pipeline, of learning, of health, of resources
rules_file  rules.yaml

What to do about each is in k8s/README.md, under its name.
"""
