#!/bin/bash -l
# Ewald ranking on many cores:  qsub {{ (folder ~ "/ewald_mpi.sh") | shell }}
#PBS -N ewald
#PBS -l select={{ nodes }}:ncpus={{ ranks_per_node }}:mpiprocs={{ ranks_per_node }}:ompthreads=1
#PBS -l walltime={{ walltime }}
#PBS -j oe
#PBS -r n
{% if queue %}
#PBS -q {{ queue }}
{% endif %}
{% if account %}
#PBS {{ account_option }}{{ "" if account_option.endswith("=") else " " }}{{ account }}
{% endif %}

source {{ (folder ~ "/environment.sh") | shell }}
cd "$PBS_O_WORKDIR" || exit 1
# What to rank. Submit again after the time limit: it goes on from the checkpoint.
{{ mpi_launcher | replace("{ranks}", ranks | string) }} ionsieve rank Na3SbS4.cif --charges "Na+ Sb5+ S2-" \
  --supercell "2 2 2" --replace "Sb=W6+:2" --vacate "Na:2" --top 5 \
  --checkpoint ewald.npz --out ranked
