"""The set that faults are planted into has none."""

from support.manifest_faults import errors


def test_the_valid_set_has_no_error_and_no_warning(planted, crds):
    assert [str(finding) for finding in planted.check(crds)] == []


def test_the_autoscaled_set_has_no_error(planted, crds):
    planted.autoscale()
    assert errors(planted.check(crds)) == []
