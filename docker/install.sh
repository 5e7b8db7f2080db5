#!/bin/sh
# The steps of the image, apart from it so that they can be run and tried without a container engine:
#   install.sh build EXTRA   /opt/cadnode: the node in a virtual environment (EXTRA: cpu or gpu)
#   install.sh run           what the node needs of Debian, and the user it runs as
# Runs as root on Debian 12, in the root of the repository for `build`.
set -eu

packages() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  rm -rf /var/lib/apt/lists/*
}

build() {
  packages python3 python3-venv ca-certificates
  python3 -m venv /opt/build
  /opt/build/bin/pip install -q --no-cache-dir --require-hashes -r constraints/installer.txt
  # Not a link to the interpreter of the build: the image has its own at the same place.
  python3 -m venv --without-pip /opt/cadnode
  /opt/build/bin/python -m pip --python /opt/cadnode/bin/python install -q --no-cache-dir \
    --require-hashes -r "constraints/run-$1.txt"
  /opt/build/bin/python -m hatchling build -t wheel -d /opt/build/wheel
  /opt/build/bin/python -m pip --python /opt/cadnode/bin/python install -q --no-cache-dir --no-deps \
    /opt/build/wheel/*.whl
  # Compiled once here: the root of a running container cannot be written to.
  /opt/cadnode/bin/python -m compileall -q -j 0 /opt/cadnode/lib
  cp -r models /opt/cadnode/models
  rm -rf /opt/build
}

run() {
  # tzdata: results carry the offset from UTC; libgomp1: pixel decoders and TensorFlow.
  packages python3 ca-certificates tzdata libgomp1
  groupadd --gid 10001 cadnode
  useradd --uid 10001 --gid cadnode --home-dir /var/lib/cadnode --no-create-home \
    --shell /usr/sbin/nologin cadnode
  install -d -o cadnode -g cadnode -m 0750 /var/lib/cadnode
  install -d -m 0755 /etc/cadnode
}

case "${1-}" in
  build) build "${2:?cpu or gpu}" ;;
  run) run ;;
  *)
    echo "usage: install.sh build cpu|gpu | install.sh run" >&2
    exit 2
    ;;
esac
