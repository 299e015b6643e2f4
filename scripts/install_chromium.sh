#!/bin/sh
# The browser in which tests/test_report_browser.py opens the HTML reports: installed where it can be, else asked for.
set -eu

if [ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium for the tests of the HTML reports"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
    exit 0
fi
echo "the tests of the HTML reports need Chromium: install it (apt-get install chromium), or set CHROMIUM to its path" >&2
