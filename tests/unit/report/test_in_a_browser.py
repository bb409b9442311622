"""What a browser makes of the pages: nothing is asked of a network, nothing complains; or we would see it."""

import pytest
from support.browser import BROWSER, WHY_SKIPPED, open_page

pytestmark = pytest.mark.skipif(BROWSER is None, reason=WHY_SKIPPED)


def test_a_page_that_asks_the_network_or_fails_would_be_found_out(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<img src="http://127.0.0.1:9/x.png"><script>console.error("no"); undefined_name()</script>'
    )
    seen = open_page(page, tmp_path)
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
    assert len(seen.console) >= 2
