#!/bin/bash -l
# Ewald ranking on many cores:  sbatch {{ (folder ~ "/ewald_mpi.sh") | shell }}
#SBATCH --job-name=ewald
#SBATCH --nodes={{ nodes }}
#SBATCH --ntasks={{ ranks }}
#SBATCH --ntasks-per-node={{ ranks_per_node }}
#SBATCH --time={{ walltime }}
#SBATCH --output=ewald-%j.out
{% if account %}
#SBATCH --account={{ account }}
{% endif %}
{% if queue %}
#SBATCH --partition={{ queue }}
{% endif %}

source {{ (folder ~ "/environment.sh") | shell }}
cd "$SLURM_SUBMIT_DIR" || exit 1
# What to rank. Submit again after the time limit: it goes on from the checkpoint.
{{ mpi_launcher | replace("{ranks}", ranks | string) }} ionsieve rank Na3SbS4.cif --charges "Na+ Sb5+ S2-" \
  --supercell "2 2 2" --replace "Sb=W6+:2" --vacate "Na:2" --top 5 \
  --checkpoint ewald.npz --out ranked
