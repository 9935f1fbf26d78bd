#!/bin/sh
# The broker of the system tests. Installed where apt and root are at hand; elsewhere those tests say that they are skipped.
if command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing mosquitto (the tests' broker) with apt"
    export DEBIAN_FRONTEND=noninteractive
    if apt-get install -y -qq mosquitto >/dev/null 2>&1 ||
        { apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq mosquitto >/dev/null 2>&1; }; then
        exit 0
    fi
    echo "apt could not install mosquitto"
fi
echo "mosquitto is missing: the tests that need it will be skipped (install it: apt install mosquitto)"
