#!/bin/sh
# Compile every *.in here to a *.txt with hashes, for all platforms and Pythons from 3.11 on. Run it as `make lock`.
# Names of package hosts stay out of the result, so that a site's own index serves as well. `make lock ARGS=--upgrade`
# takes newer releases; without it a pin that still satisfies the .in file stays.
set -eu
cd "$(dirname "$0")"
for name in uv control test; do
  [ "$name" = test ] && constraint='--constraint control.txt' || constraint=
  # shellcheck disable=SC2086
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links $constraint "$@" --output-file "$name.txt" "$name.in"
done
