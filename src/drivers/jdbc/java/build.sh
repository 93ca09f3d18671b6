#!/bin/sh
# Compiles the helper into ../classes, with a digest of the sources that it was made of (runtime.ts compares it). Needs javac of a JDK 9 or later.
set -eu
export LC_ALL=C
cd "$(dirname "$0")"
rm -rf ../classes
javac --release 8 -nowarn -encoding UTF-8 -d ../classes ./*.java
cat ./*.java | sha256sum | cut -d ' ' -f 1 > ../classes/sources.sha256
