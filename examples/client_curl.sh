#!/bin/sh
# Asks a running app with curl: sh examples/client_curl.sh ADDRESS IMAGE
# --fail-with-body: an error's JSON is printed, and the exit code is not 0.
curl --silent --show-error --fail-with-body --form "image=@$2" "$1/predict"
