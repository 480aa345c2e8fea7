#!/bin/sh
# Writes the secrets of compose.yaml into ./secrets, once: what is there stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
new() { [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }
new database_password "$(random 24)"
new cluster_secret "$(random 32)"
new s3_access_key_id "tintype"
new s3_secret_access_key "$(random 24)"
new signing.key "ed25519 a_$(random 2) $(head -c 32 /dev/urandom | base64 | tr -d '=\n')"
new s3.json "$(printf '{"identities":[{"name":"tintype","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":["Read","Write","List","Tagging","Admin"]}]}' \
    "$(cat secrets/s3_access_key_id)" "$(cat secrets/s3_secret_access_key)")"
# The user of the image reads them.
chmod 0755 secrets
chmod 0444 secrets/*
