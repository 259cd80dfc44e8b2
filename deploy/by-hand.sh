#!/bin/bash
# A worker for each GPU of this machine, or one on its processor:  bash deploy/by-hand.sh tls://HOST:8786 [NUMBER_OF_GPUS]
# Ctrl-C ends them all; the selection goes on with the others. It ends with the code of the first that ended otherwise than with 0.
set -euo pipefail

address="${1:?is missing: tls://HOST:8786, as the selection says it}"
export PELT_AUTOML_CERTIFICATES="${PELT_AUTOML_CERTIFICATES:-$HOME/pelt-certificates}"
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
if [ "${2:-0}" -eq 0 ]; then
  "${PELT_AUTOML:-pelt-automl}" worker "$address" &
else
  for gpu in $(seq 0 $(($2 - 1))); do
    CUDA_VISIBLE_DEVICES=$gpu "${PELT_AUTOML:-pelt-automl}" worker "$address" --name "$(hostname)-gpu$gpu" &
  done
fi
code=0
for worker in $(jobs -p); do
  wait "$worker" || code=$((code ? code : $?))
done
exit "$code"
