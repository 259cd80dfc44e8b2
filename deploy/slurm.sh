#!/bin/bash
# Workers in a Slurm job, a GPU each:  sbatch --array=1-8 deploy/slurm.sh tls://HOST:8786
# HOST: where the selection runs with --listen. The folder with the certificates lies on the shared disk, readable by you alone.
#SBATCH --job-name=pelt-worker
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=24G
#SBATCH --time=12:00:00
set -euo pipefail

export PELT_AUTOML_CERTIFICATES="${PELT_AUTOML_CERTIFICATES:-$HOME/pelt-certificates}"
exec "${PELT_AUTOML:-pelt-automl}" worker "${1:?is missing: tls://HOST:8786, as the selection says it}" --name "${SLURM_JOB_ID}-${SLURM_ARRAY_TASK_ID:-0}"
